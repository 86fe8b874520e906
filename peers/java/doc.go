// Package java holds package motan against Motan Java: its client calls Heddle's
// providers, and Heddle's client calls its services. Its tests need a Java peer,
// which Maven builds from the sources in this directory (JDK 8 or later):
//
//	mvn -q -B -f java/pom.xml compile dependency:build-classpath -Dmdep.outputFile=target/classpath
//	HEDDLE_TEST_MOTAN_JAVA=$PWD/java/target/classpath go test ./java
//
// With HEDDLE_TEST_ZOOKEEPER, the host:port of a ZooKeeper server, they find each
// other there too.
package java
