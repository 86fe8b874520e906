# What an application does with pymemcache, against the server on the loopback
# port that is the only argument. Prints ok at the end.
import sys

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheServerError


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r:.200}, want {want!r:.200}")


address = ("127.0.0.1", int(sys.argv[1]))
# Plain sets are sent with noreply, which is pymemcache's default.
c = Client(address, timeout=60, connect_timeout=60)
check("version", c.version(), b"1.0.0")
check("get of an empty queue", c.get("q"), None)
check("set, unanswered", c.set("q", b"1"), True)
check("set", c.set("q", b"2", noreply=False), True)
check("set with flags", c.set("q", b"", flags=7, noreply=False), True)
check("get", c.get("q"), b"1")

value, lease = c.gets("q/lease=60")
check("gets of a lease", value, b"2")
check("touch", c.touch(f"q/id={lease.decode()}", 60, noreply=False), True)
check("nack", c.delete(f"q/nack={lease.decode()}", noreply=False), True)
check("gets of what was given back", c.gets("q/lease=60"), (b"2", lease))
check("ack", c.delete(f"q/ack={lease.decode()}", noreply=False), True)
check("ack again", c.delete(f"q/ack={lease.decode()}", noreply=False), False)
check("touch of what is acknowledged", c.touch(f"q/id={lease.decode()}", 60, noreply=False), False)
check("get of nothing in it", c.get("q"), b"")

# One write, many answers.
check("set_many", c.set_many({f"many{i}": b"%d" % i for i in range(100)}, noreply=False), [])
check("get_many", c.get_many([f"many{i}" for i in range(100)]), {f"many{i}": b"%d" % i for i in range(100)})
check("get_many of nothing", c.get_many(["many1", "many2"]), {})

large = bytes(range(256)) * 4000
check("set of 1 MB", c.set("large", large, noreply=False), True)
check("get of 1 MB", c.get("large"), large)
try:
    c.set("large", large + large, noreply=False)
    sys.exit("2 MB were taken")
except MemcacheServerError as e:
    check("error about 2 MB", "object too large for cache" in str(e), True)
check("get after that", c.get("large"), None)

check("stats queue", c.stats("queue")[b"q"], b"3/3")
check("stats", c.stats()[b"version"], b"1.0.0")
check("delete", c.delete("q", noreply=False), True)
check("delete again", c.delete("q", noreply=False), False)
c.close()

h = HashClient([address], timeout=60, connect_timeout=60, use_pooling=True)
check("set through a pool", h.set("q", b"x", noreply=False), True)
check("get through a pool", h.get("q"), b"x")
h.close()
print("ok")
