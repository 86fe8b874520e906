# What an application does with python-memcached, against the server on the
# loopback port that is the only argument. Prints ok at the end.
import sys

import memcache


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r:.200}, want {want!r:.200}")


c = memcache.Client([f"127.0.0.1:{sys.argv[1]}"], cache_cas=True, socket_timeout=60, server_max_value_length=4 << 20)
check("get of an empty queue", c.get("q"), None)
check("set", c.set("q", "1"), True)
check("set, unanswered", c.set("q", "2", noreply=True), True)
check("set of what is pickled", c.set("q", ["a", 3]), True)
check("get", c.get("q"), "1")

check("gets of a lease", c.gets("q/lease=60"), "2")
[lease] = c.cas_ids.values()  # by key, in bytes
check("touch", c.touch(f"q/id={lease}", 60), 1)
check("nack", c.delete(f"q/nack={lease}"), 1)
check("gets of what was given back", c.gets("q/lease=60"), "2")
check("its id", list(c.cas_ids.values()), [lease])
check("ack", c.delete(f"q/ack={lease}"), 1)
check("touch of what is acknowledged", c.touch(f"q/id={lease}", 60), 0)
check("get of what is pickled", c.get("q"), ["a", 3])

check("set_multi", c.set_multi({f"many{i}": str(i) for i in range(100)}), [])
check("get_multi", c.get_multi([f"many{i}" for i in range(100)]), {f"many{i}": str(i) for i in range(100)})
check("get_multi of nothing", c.get_multi(["many1", "many2"]), {})

large = "0123456789abcdef" * 60000
check("set of 1 MB", c.set("large", large), True)
check("get of 1 MB", c.get("large"), large)
check("set of 2 MB", c.set("large", large + large), 0)
check("get after that", c.get("large"), None)

[(_, queues)] = c.get_stats("queue")
check("stats queue", queues["q"], "3/3")
[(_, stats)] = c.get_stats()
check("stats", stats["version"], "1.0.0")
check("delete", c.delete("q"), 1)
check("get of what is deleted", c.get("q"), None)
print("ok")
