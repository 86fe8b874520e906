package com.example;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.CountDownLatch;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.testing.TestingHBaseCluster;
import org.apache.hadoop.hbase.testing.TestingHBaseClusterOption;
import org.apache.hadoop.hbase.thrift2.ThriftServer;

/**
 * A small HBase in one process, and Thrift2 gateways to it.
 *
 * <pre>
 * MiniHBase cluster FILE            all of it, until SIGTERM; FILE gets two lines when it is ready:
 *                                   the address of the gateway and that of ZooKeeper
 * MiniHBase gateway ZOOKEEPER PORT  a gateway only, to a cluster that runs, until standard input ends
 * </pre>
 */
public final class MiniHBase {
  public static void main(String[] args) {
    // The threads of a cluster take half a minute to end by themselves.
    sun.misc.Signal.handle(new sun.misc.Signal("TERM"), signal -> Runtime.getRuntime().halt(0));
    try {
      run(args);
    } catch (Throwable e) {
      e.printStackTrace(); // the cluster sets a handler of its own for what nobody catches
      Runtime.getRuntime().halt(1);
    }
    Runtime.getRuntime().halt(0);
  }

  private static void run(String[] args) throws Exception {
    if (args.length == 2 && args[0].equals("cluster")) {
      cluster(Path.of(args[1]));
      new CountDownLatch(1).await();
    } else if (args.length == 3 && args[0].equals("gateway")) {
      Configuration conf = HBaseConfiguration.create();
      String[] zookeeper = args[1].split(":");
      conf.set("hbase.zookeeper.quorum", zookeeper[0]);
      conf.set("hbase.zookeeper.property.clientPort", zookeeper[1]);
      gateway(conf, Integer.parseInt(args[2]));
      while (System.in.read() >= 0) {}
    } else {
      System.err.println("usage: MiniHBase cluster FILE | gateway ZOOKEEPER PORT");
      System.exit(2);
    }
  }

  private static void cluster(Path file) throws Exception {
    Configuration conf = HBaseConfiguration.create();
    conf.setInt("hbase.master.info.port", -1);
    conf.setInt("hbase.regionserver.info.port", -1);
    // The asynchronous log reaches into the HDFS client, which a current JDK does not allow.
    conf.set("hbase.wal.provider", "filesystem");
    // A loaded machine needs more than the default half minute.
    conf.setInt("hbase.master.start.timeout.localHBaseCluster", 240_000);
    conf.setInt("hbase.master.init.timeout.localHBaseCluster", 240_000);
    conf.setInt("dfs.namenode.handler.count", 4);
    conf.setInt("hbase.regionserver.handler.count", 20);
    TestingHBaseCluster cluster =
        TestingHBaseCluster.create(
            TestingHBaseClusterOption.builder().conf(conf).numMasters(1).numRegionServers(1).numDataNodes(1).build());
    cluster.start();
    int port = gateway(cluster.getConf(), 0);
    String text = "127.0.0.1:" + port + "\n127.0.0.1:" + cluster.getConf().get("hbase.zookeeper.property.clientPort") + "\n";
    Path part = file.resolveSibling(file.getFileName() + ".part");
    Files.writeString(part, text);
    Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
  }

  /** Starts a gateway in this process; port 0 is any. Returns once it accepts connections. */
  private static int gateway(Configuration clusterConf, int port) throws Exception {
    if (port == 0) {
      try (java.net.ServerSocket s = new java.net.ServerSocket(0)) {
        port = s.getLocalPort();
      }
    }
    Configuration conf = new Configuration(clusterConf);
    conf.setInt("hbase.regionserver.thrift.port", port);
    conf.set("hbase.regionserver.thrift.ipaddress", "127.0.0.1");
    conf.setInt("hbase.thrift.info.port", -1);
    ThriftServer server = new ThriftServer(conf);
    CountDownLatch ended = new CountDownLatch(1);
    Thread thread =
        new Thread(
            () -> {
              try {
                server.run(new String[] {"start"});
              } catch (Throwable e) {
                e.printStackTrace();
              }
              ended.countDown();
              System.exit(1);
            });
    thread.setDaemon(true);
    thread.start();
    while (ended.getCount() > 0) {
      try (java.net.Socket s = new java.net.Socket("127.0.0.1", port)) {
        return port;
      } catch (IOException e) {
        Thread.sleep(50);
      }
    }
    throw new IOException("the gateway has ended");
  }
}
