// Package zkregistry finds and announces motan services in ZooKeeper, in the node
// layout of weibocom/motan and motan-go, so that services of all three find each
// other:
//
//	/motan/GROUP/SERVICE/server/HOST:PORT   ephemeral, holds the node's URL
//	/motan/GROUP/SERVICE/client/HOST:PID    ephemeral, says who watches
//	/motan/GROUP/command                    persistent, holds the traffic commands
//
// A [Registry] is a motan.Registry and a motan.Announcer:
//
//	reg, err := zkregistry.Open(ctx, []string{"10.0.0.1:2181"}, nil)
//	client, err := motan.NewClient("com.example.Users", reg, nil)
//	…
//	err = srv.Announce(ctx, reg, "", "", motan.Endpoint{Addr: "10.0.0.7:8100"})
//
// # Guarantees
//
//	ZooKeeper gone    clients keep the last list; it is asked again until it answers
//	session lost      what was announced is announced again in the new session
//	empty list        ignored if there was one before: it is more often a mistake
//	                  of the registry than the truth
//	node contents     plain text as motan-go and Motan's registry "zk" write it, and
//	                  Java-serialized strings as its registry "zookeeper" does; a
//	                  node without readable contents counts by its name
//
// # Reading order
//
// registry.go, within.go, watch.go, announce.go, subscribe.go, commands.go, node.go.
package zkregistry
