package servers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

const cassandraVersion = "5.0.8"

// Packages of the Java platform that Cassandra reaches into.
const (
	cassandraExports = "java.base/jdk.internal.misc java.management.rmi/com.sun.jmx.remote.internal.rmi " +
		"java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql java.base/java.lang.ref " +
		"jdk.unsupported/sun.misc jdk.compiler/com.sun.tools.javac.file jdk.attach/sun.tools.attach"
	cassandraOpens = "java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref " +
		"java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module " +
		"java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal java.base/sun.nio.ch " +
		"java.base/java.io java.base/java.lang.reflect jdk.compiler/com.sun.tools.javac java.base/java.lang " +
		"java.base/java.util"
)

// NewCassandra prepares a node that is a cluster of its own, unless Settings
// give it the ports and the seed of another. Start starts it.
// What it has acknowledged survives a kill: its commit log is synchronous.
func NewCassandra(ctx context.Context, c Config) (*Server, error) {
	dir, jars, err := prepare(ctx, c, artifact{
		name: "cassandra", version: cassandraVersion,
		dependencies: []string{"org.apache.cassandra:cassandra-all:" + cassandraVersion},
	})
	if err != nil {
		return nil, err
	}
	p, err := ports(2)
	if err != nil {
		return nil, err
	}
	host := cmp.Or(c.Host, "127.0.0.1")
	s := &Server{Name: "Cassandra", dir: dir, jars: jars, log: c.Log, ready: cassandraReady}
	settings := map[string]string{
		"cluster_name":           "test",
		"num_tokens":             "1",
		"partitioner":            "org.apache.cassandra.dht.Murmur3Partitioner",
		"endpoint_snitch":        "SimpleSnitch",
		"listen_address":         host,
		"rpc_address":            host,
		"storage_port":           p[1],
		"native_transport_port":  p[0],
		"start_native_transport": "true",
		"seed_provider":          `[{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "` + host + ":" + p[1] + `"}]}]`,
		"commitlog_sync":         "batch",
		"commitlog_segment_size": "32MiB",
		"commitlog_directory":    filepath.Join(dir, "commitlog"),
		"data_file_directories":  "[" + filepath.Join(dir, "data") + "]",
		"saved_caches_directory": filepath.Join(dir, "saved_caches"),
		"hints_directory":        filepath.Join(dir, "hints"),
		"cdc_raw_directory":      filepath.Join(dir, "cdc_raw"),
		"hinted_handoff_enabled": "false",
		"auto_snapshot":          "false",
		"concurrent_reads":       "8",
		"concurrent_writes":      "16",
		"concurrent_compactors":  "1",
		"paxos_variant":          "v2",
		// A test's machine may stand still for longer than the usual two seconds.
		"read_request_timeout":   "8s",
		"write_request_timeout":  "8s",
		"cas_contention_timeout": "8s",
	}
	maps.Copy(settings, c.Settings)
	s.Addr = net.JoinHostPort(host, settings["native_transport_port"])
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		lines = append(lines, k+": "+settings[k])
	}
	config, err := write(dir, "cassandra.yaml", lines...)
	if err != nil {
		return nil, err
	}
	logging, err := write(dir, "logback.xml",
		`<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender">`+
			`<encoder><pattern>%d %p %c{0} %m%n</pattern></encoder></appender>`+
			`<root level="WARN"><appender-ref ref="out"/></root></configuration>`)
	if err != nil {
		return nil, err
	}
	agent, err := filepath.Glob(filepath.Join(jars, "jamm-*.jar"))
	if err != nil || len(agent) != 1 {
		return nil, fmt.Errorf("servers: Cassandra's agent among its jars: found %d, want one", len(agent))
	}
	heap := c.Heap
	if heap == "" {
		heap = "1g"
	}
	s.args = []string{
		"-Xms" + heap, "-Xmx" + heap, "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-Djava.net.preferIPv4Stack=true",
		"-javaagent:" + agent[0], "-Djdk.attach.allowAttachSelf=true",
	}
	for module := range strings.FieldsSeq(cassandraExports) {
		s.args = append(s.args, "--add-exports", module+"=ALL-UNNAMED")
	}
	for module := range strings.FieldsSeq(cassandraOpens) {
		s.args = append(s.args, "--add-opens", module+"=ALL-UNNAMED")
	}
	s.args = append(s.args,
		"-Dio.netty.tryReflectionSetAccessible=true", "-Dio.netty.allocator.useCacheForAllThreads=true", "-Dio.netty.allocator.maxOrder=11",
		"-Dcassandra.config=file://"+config, "-Dcassandra.storagedir="+dir, "-Dcassandra.logdir="+filepath.Join(dir, "logs"),
		"-Dcassandra-foreground=yes", "-Dcassandra.superuser_setup_delay_ms=0", "-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1000",
		"-Dlogback.configurationFile="+logging,
		"-cp", filepath.Join(jars, "*"), "org.apache.cassandra.service.CassandraDaemon")
	return s, nil
}

// cassandraReady asks for the options of the native protocol, version 4. The
// node listens when it is ready to answer queries.
func cassandraReady(c net.Conn) error {
	if _, err := c.Write([]byte{4, 0, 0, 0, 5, 0, 0, 0, 0}); err != nil {
		return err
	}
	var answer [9]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	const supported = 6
	if answer[4] != supported {
		return fmt.Errorf("answers with operation %d, not %d", answer[4], supported)
	}
	return nil
}
