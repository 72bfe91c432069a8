import java.io.FileReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The load of the tests: one job for each run, settings as name=value, the result as one line of JSON.
 *
 * <pre>
 * Load create  config=FILE topic=T partitions=N set.KEY=VALUE...
 * Load produce config=FILE topic=T bytes=N record=R batch=B linger=MS
 * Load consume config=FILE topic=T
 * Load jump    config=FILE topic=T jumps=N
 * </pre>
 *
 * The file holds what every Kafka client needs: bootstrap.servers and the security settings.
 */
public final class Load {
    /** After so long without any progress, a job has failed. */
    private static final long STALLED_MILLIS = 60_000;

    public static void main(String[] args) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            given.put(pair[0], pair[1]);
        }
        Properties config = new Properties();
        try (FileReader reader = new FileReader(given.get("config"))) {
            config.load(reader);
        }
        String topic = given.get("topic");
        switch (args[0]) {
            case "create" -> create(config, topic, given);
            case "produce" -> produce(config, topic, given);
            case "consume" -> consume(config, topic);
            case "jump" -> jump(config, topic, Integer.parseInt(given.get("jumps")));
            default -> throw new IllegalArgumentException("unknown job " + args[0]);
        }
    }

    private static void create(Properties config, String topic, Map<String, String> given) throws Exception {
        long start = System.nanoTime();
        Map<String, String> settings = new HashMap<>();
        given.forEach((name, value) -> {
            if (name.startsWith("set.")) {
                settings.put(name.substring("set.".length()), value);
            }
        });
        int partitions = Integer.parseInt(given.get("partitions"));
        NewTopic asked = new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(settings);
        try (Admin admin = Admin.create(config)) {
            admin.createTopics(List.of(asked)).all().get();
        }
        print(0, 0, 0, 0, start, System.nanoTime());
    }

    private static void produce(Properties config, String topic, Map<String, String> given) throws Exception {
        long bytes = Long.parseLong(given.get("bytes"));
        int recordBytes = Integer.parseInt(given.get("record"));
        config.put("acks", "all");
        config.put("compression.type", "none");
        config.put("batch.size", given.get("batch"));
        config.put("linger.ms", given.get("linger"));
        config.put("max.request.size", Integer.toString(Math.max(1 << 20, 2 * recordBytes)));
        config.put("buffer.memory", "67108864");
        byte[] value = new byte[recordBytes];
        new Random(1).nextBytes(value);
        AtomicReference<Exception> failure = new AtomicReference<>();
        long start = System.nanoTime();
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            int partitions = producer.partitionsFor(topic).size();
            long sent = 0;
            long records = 0;
            while (sent < bytes && failure.get() == null) {
                int size = (int) Math.min(recordBytes, bytes - sent);
                byte[] payload = size == recordBytes ? value : java.util.Arrays.copyOf(value, size);
                // The partition is said, so that every run fills them alike.
                producer.send(new ProducerRecord<>(topic, (int) (records % partitions), null, payload), (done, error) -> {
                    if (error != null) {
                        failure.compareAndSet(null, error);
                    }
                });
                sent += size;
                records++;
            }
            producer.flush();
            if (failure.get() != null) {
                throw failure.get();
            }
            long end = System.nanoTime();
            Metric incoming = total(producer.metrics(), "incoming-byte-total");
            Metric outgoing = total(producer.metrics(), "outgoing-byte-total");
            producer.close();
            print(records, sent, value(incoming), value(outgoing), start, end);
        }
    }

    private static void consume(Properties config, String topic) {
        config.put("enable.auto.commit", "false");
        config.put("max.partition.fetch.bytes", "8388608");
        config.put("fetch.max.bytes", "52428800");
        config.put("max.poll.records", "20000");
        config.put("receive.buffer.bytes", "1048576");
        long start = System.nanoTime();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                partitions.add(new TopicPartition(topic, info.partition()));
            }
            consumer.assign(partitions);
            Metric incoming = total(consumer.metrics(), "incoming-byte-total");
            Metric outgoing = total(consumer.metrics(), "outgoing-byte-total");
            long[] read = readAll(consumer, partitions);
            long end = System.nanoTime();
            // Closing ends the fetch sessions: requests and answers that count too.
            consumer.close();
            print(read[0], read[1], value(incoming), value(outgoing), start, end);
        }
    }

    /** Reads one record at a time of the first partition, each far from the one before: back and forth over all of it. */
    private static void jump(Properties config, String topic, int jumps) {
        final int places = 20;
        config.put("enable.auto.commit", "false");
        // One batch for each fetch, of which a record stays behind: then nothing is fetched before the next jump.
        config.put("max.partition.fetch.bytes", "1");
        config.put("max.poll.records", "1");
        long bytes = 0;
        long start = System.nanoTime();
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            for (int jump = 0; jump < jumps; jump++) {
                // 7 and the number of places have no common divisor, so that neighbours in time are far apart.
                long place = end / places * (jump * 7L % places);
                consumer.seek(partition, place);
                long before = System.nanoTime();
                List<ConsumerRecord<byte[], byte[]>> records = List.of();
                while (records.isEmpty()) {
                    records = consumer.poll(Duration.ofMillis(500)).records(partition);
                    if (System.nanoTime() - before > STALLED_MILLIS * 1_000_000) {
                        throw new IllegalStateException("no record came from offset " + place + " for a minute");
                    }
                }
                if (records.get(0).offset() != place) {
                    throw new IllegalStateException("asked for " + place + ", got " + records.get(0).offset());
                }
                bytes += records.get(0).serializedValueSize();
            }
            Metric incoming = total(consumer.metrics(), "incoming-byte-total");
            Metric outgoing = total(consumer.metrics(), "outgoing-byte-total");
            long stop = System.nanoTime();
            consumer.close();
            print(jumps, bytes, value(incoming), value(outgoing), start, stop);
        }
    }

    /** Reads the partitions from their beginning to their end; returns the records and their bytes. */
    private static long[] readAll(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> partitions) {
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        long bytes = 0;
        long records = 0;
        long lastProgress = System.nanoTime();
        while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
            long before = records;
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                records++;
                bytes += Math.max(0, record.serializedKeySize()) + Math.max(0, record.serializedValueSize());
            }
            long now = System.nanoTime();
            if (records > before) {
                lastProgress = now;
            } else if (now - lastProgress > STALLED_MILLIS * 1_000_000) {
                throw new IllegalStateException("no record came for a minute; " + records + " came before");
            }
        }
        return new long[] {records, bytes};
    }

    /** A client-wide metric: the one without a node in its tags. It can be read after the client is closed. */
    private static Metric total(Map<MetricName, ? extends Metric> metrics, String name) {
        for (Map.Entry<MetricName, ? extends Metric> metric : metrics.entrySet()) {
            if (metric.getKey().name().equals(name) && !metric.getKey().tags().containsKey("node-id")) {
                return metric.getValue();
            }
        }
        throw new IllegalStateException("this client has no metric " + name);
    }

    private static long value(Metric metric) {
        return ((Number) metric.metricValue()).longValue();
    }

    private static void print(long records, long bytes, long incoming, long outgoing, long start, long end) {
        System.out.printf(java.util.Locale.ROOT,
                "{\"records\":%d,\"bytes\":%d,\"incoming_bytes\":%d,\"outgoing_bytes\":%d,\"seconds\":%.3f}%n",
                records, bytes, incoming, outgoing, (end - start) / 1e9);
        System.out.flush();
    }
}
