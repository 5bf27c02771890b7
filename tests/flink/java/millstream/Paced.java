package millstream;

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.legacy.table.connector.source.SourceFunctionProvider;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.streaming.api.functions.source.legacy.RichSourceFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/** The connector 'paced': the lines of a file, decoded by any format, each when {@link Turns} says so. */
public final class Paced implements DynamicTableSourceFactory {
    private static final ConfigOption<String> PATH = ConfigOptions.key("path").stringType().noDefaultValue();
    private static final ConfigOption<String> JOB = ConfigOptions.key("job").stringType().noDefaultValue();
    private static final Pattern AT = Pattern.compile("\"_at\"\\s*:\\s*(\\d+)");

    @Override
    public String factoryIdentifier() {
        return "paced";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(PATH, JOB, FactoryUtil.FORMAT);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        DecodingFormat<DeserializationSchema<RowData>> format =
                helper.discoverDecodingFormat(DeserializationFormatFactory.class, FactoryUtil.FORMAT);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        return new Table(format, context.getPhysicalRowDataType(), options.get(PATH), options.get(JOB),
                context.getObjectIdentifier().getObjectName());
    }

    private static final class Table implements ScanTableSource {
        private final DecodingFormat<DeserializationSchema<RowData>> format;
        private final DataType type;
        private final String path;
        private final String job;
        private final String name;

        Table(DecodingFormat<DeserializationSchema<RowData>> format, DataType type, String path, String job, String name) {
            this.format = format;
            this.type = type;
            this.path = path;
            this.job = job;
            this.name = name;
        }

        @Override
        public DynamicTableSource copy() {
            return new Table(format, type, path, job, name);
        }

        @Override
        public String asSummaryString() {
            return "paced";
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return format.getChangelogMode();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
            return SourceFunctionProvider.of(new Reader(format.createRuntimeDecoder(context, type), path, job, name), true);
        }
    }

    private static final class Reader extends RichSourceFunction<RowData> {
        private final DeserializationSchema<RowData> decoder;
        private final String path;
        private final String job;
        private final String name;
        private volatile Thread runner;

        Reader(DeserializationSchema<RowData> decoder, String path, String job, String name) {
            this.decoder = decoder;
            this.path = path;
            this.job = job;
            this.name = name;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            decoder.open(new DeserializationSchema.InitializationContext() {
                @Override
                public MetricGroup getMetricGroup() {
                    return getRuntimeContext().getMetricGroup();
                }

                @Override
                public UserCodeClassLoader getUserCodeClassLoader() {
                    return SimpleUserCodeClassLoader.create(Paced.class.getClassLoader());
                }
            });
        }

        @Override
        public void cancel() {
            Thread running = runner;
            if (running != null) {
                running.interrupt();
            }
        }

        @Override
        public void run(SourceContext<RowData> context) throws Exception {
            runner = Thread.currentThread();
            List<String> lines = new ArrayList<>(Files.readAllLines(Paths.get(URI.create(path))));
            lines.removeIf(String::isBlank);
            List<Long> times = new ArrayList<>();
            for (String line : lines) {
                Matcher at = AT.matcher(line);
                times.add(at.find() ? Long.parseLong(at.group(1)) : 0);
            }
            Turns turns = Turns.of(job);
            turns.open(name, times);
            List<RowData> rows = new ArrayList<>();
            for (int i = 0; i < lines.size(); i++) {
                turns.await(times.get(i), name);
                rows.clear();
                decoder.deserialize(lines.get(i).getBytes(StandardCharsets.UTF_8), new ListCollector<>(rows));
                synchronized (context.getCheckpointLock()) {
                    rows.forEach(context::collect);
                }
                turns.done(times.get(i), name);
            }
            turns.awaitAll();
        }
    }
}
