package servers

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

const kafkaVersion = "4.3.1"

// NewKafka prepares a broker that is its own controller. Start starts it.
func NewKafka(ctx context.Context, c Config) (*Server, error) {
	dir, jars, err := prepare(ctx, c, artifact{
		name: "kafka", version: kafkaVersion,
		dependencies: []string{
			"org.apache.kafka:kafka_2.13:" + kafkaVersion,
			"org.apache.logging.log4j:log4j-core:2.24.3",
			"org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
		},
	})
	if err != nil {
		return nil, err
	}
	p, err := ports(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Name: "Kafka", Addr: "127.0.0.1:" + p[0], dir: dir, jars: jars, log: c.Log, ready: kafkaReady}
	properties := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          "1",
		"controller.quorum.voters":                         "1@127.0.0.1:" + p[1],
		"listeners":                                        "PLAINTEXT://" + s.Addr + ",CONTROLLER://127.0.0.1:" + p[1],
		"advertised.listeners":                             "PLAINTEXT://" + s.Addr,
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names":                        "CONTROLLER",
		"inter.broker.listener.name":                       "PLAINTEXT",
		"log.dirs":                                         filepath.Join(dir, "data"),
		"num.partitions":                                   "8",
		"num.network.threads":                              "2",
		"num.io.threads":                                   "2",
		"offsets.topic.replication.factor":                 "1",
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"auto.create.topics.enable":                        "false",
		"log.segment.bytes":                                "134217728",
	}
	maps.Copy(properties, c.Settings)
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		lines = append(lines, k+"="+properties[k])
	}
	config, err := write(dir, "server.properties", lines...)
	if err != nil {
		return nil, err
	}
	logging, err := write(dir, "log4j2.properties",
		"rootLogger.level=warn", "rootLogger.appenderRef.c.ref=c",
		"appender.c.type=Console", "appender.c.name=c",
		"appender.c.layout.type=PatternLayout", "appender.c.layout.pattern=%d %p %c %m%n")
	if err != nil {
		return nil, err
	}
	heap := c.Heap
	if heap == "" {
		heap = "1g"
	}
	java := []string{
		"-Xms256m", "-Xmx" + heap, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true",
		"-Dkafka.logs.dir=" + filepath.Join(dir, "logs"), "-Dlog4j2.configurationFile=file:" + logging,
		"-cp", filepath.Join(jars, "*"),
	}
	s.args = append(slices.Clone(java), "kafka.Kafka", config)
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		return s, nil
	}
	format := append(java, "kafka.tools.StorageTool", "format", "-t", "Y2FubmVkb3MtaXMtaGVyZQ", "-c", config)
	if out, err := exec.CommandContext(ctx, "java", format...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("servers: format Kafka's data: %w\n%s", err, out)
	}
	return s, nil
}

// kafkaReady asks for the metadata of all topics (version 4 of that request)
// and wants a broker in the answer.
func kafkaReady(c net.Conn) error {
	request := []byte{
		0, 3, 0, 4, // Metadata, version 4
		0, 0, 0, 7, // its number
		255, 255, // no client id
		255, 255, 255, 255, // all topics
		0, // create none
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return err
	}
	var answer [16]byte // size, number, throttle time, count of brokers
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	if n := binary.BigEndian.Uint32(answer[12:]); n != 1 {
		return fmt.Errorf("%d brokers", n)
	}
	return nil
}
