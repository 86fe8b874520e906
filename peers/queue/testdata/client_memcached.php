<?php
// What an application does with php-memcached, against the server on the
// loopback port that is the only argument. Prints ok at the end.

function check(string $what, mixed $got, mixed $want): void
{
    global $m;
    if ($got !== $want) {
        printf("%s: got %.200s, want %.200s (%s)\n", $what, var_export($got, true), var_export($want, true), $m->getResultMessage());
        exit(1);
    }
}

$m = new Memcached();
$m->setOption(Memcached::OPT_COMPRESSION, false);
$m->setOption(Memcached::OPT_CONNECT_TIMEOUT, 60000);
$m->setOption(Memcached::OPT_POLL_TIMEOUT, 60000);
$m->addServer('127.0.0.1', (int) $argv[1]);
$server = "127.0.0.1:$argv[1]";
check('version', $m->getVersion(), [$server => '1.0.0']);
check('get of an empty queue', $m->get('q'), false);
check('its result', $m->getResultCode(), Memcached::RES_NOTFOUND);
check('set', $m->set('q', 'one'), true);
check('set of a number', $m->set('q', 2), true);
check('set of an array', $m->set('q', ['a' => 3]), true);
check('get', $m->get('q'), 'one');

$got = $m->get('q/lease=60', null, Memcached::GET_EXTENDED);
check('get of a lease', $got['value'], 2);
$lease = $got['cas'];
check('touch', $m->touch("q/id=$lease", 60), true);
check('nack', $m->delete("q/nack=$lease"), true);
$got = $m->get('q/lease=60', null, Memcached::GET_EXTENDED);
check('get of what was given back', [$got['value'], $got['cas']], [2, $lease]);
check('ack', $m->delete("q/ack=$lease"), true);
check('ack again', $m->delete("q/ack=$lease"), false);
check('its result', $m->getResultCode(), Memcached::RES_NOTFOUND);
check('get of an array', $m->get('q'), ['a' => 3]);

// Without answers, and many commands in one write.
$m->setOption(Memcached::OPT_NOREPLY, true);
check('set, unanswered', $m->set('noreply', 'x'), true);
$m->setOption(Memcached::OPT_NOREPLY, false);
check('get of it', $m->get('noreply'), 'x');
$m->setOption(Memcached::OPT_BUFFER_WRITES, true);
for ($i = 0; $i < 200; $i++) {
    $m->set('buffered', "$i");
}
check('flushBuffers', $m->flushBuffers(), true);
for ($i = 0; $i < 200; $i++) {
    check("get of buffered $i", $m->get('buffered'), "$i");
}
$m->setOption(Memcached::OPT_BUFFER_WRITES, false); // makes a new connection
$many = [];
for ($i = 0; $i < 100; $i++) {
    $many["many$i"] = "$i";
}
check('setMulti', $m->setMulti($many), true);
check('getMulti', $m->getMulti(array_keys($many)), $many);
check('getMulti of nothing', $m->getMulti(['many1', 'many2']), []);

$large = str_repeat('0123456789abcdef', 60000);
check('set of 1 MB', $m->set('large', $large), true);
check('get of 1 MB', $m->get('large'), $large);
check('set of 2 MB', $m->set('large', $large . $large), false);
check('get after that', $m->get('large'), false);

check('stats queue', $m->getStats('queue')[$server]['q'], '3/3');
check('stats', $m->getStats()[$server]['version'], '1.0.0');
check('delete', $m->delete('q'), true);
check('delete again', $m->delete('q'), false);
check('quit', $m->quit(), true);
echo "ok\n";
