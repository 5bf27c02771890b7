package millstream;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ResultKind;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs a script, unchanged, on the cluster of the loopback interface: {@code Submit PORT SCRIPT}. Each INSERT and each SELECT is
 * a job that is waited for; a SELECT's changes are printed as they come, as {@code millstream run} prints them. A watermark
 * follows every row, there is one worker, and times are UTC, as there.
 */
public final class Submit {
    private Submit() {}

    public static void main(String[] args) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("execution.target", "remote");
        configuration.setString("rest.address", "127.0.0.1");
        configuration.setString("rest.port", args[0]);
        configuration.setString("table.local-time-zone", "UTC");
        configuration.setString("parallelism.default", "1");
        configuration.setString("pipeline.auto-watermark-interval", "0 ms");
        TableEnvironment flink =
                TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        for (String statement : Script.statements(Files.readString(Path.of(args[1])))) {
            try {
                run(flink, statement);
            } catch (Exception e) {
                System.err.println(statement + "\n" + Script.reason(e));
                System.exit(1);
            }
        }
        System.exit(0);
    }

    private static void run(TableEnvironment flink, String statement) throws Exception {
        if (Script.set(flink, statement)) {
            return;
        }
        TableResult result = flink.executeSql(statement);
        if (result.getJobClient().isEmpty()) {
            if (result.getResultKind() == ResultKind.SUCCESS_WITH_CONTENT) {
                result.print();
            }
        } else if (statement.toUpperCase(Locale.ROOT).matches("(?s)(SELECT|WITH)\\s.*")) {
            try (CloseableIterator<Row> rows = result.collect()) {
                while (rows.hasNext()) {
                    System.out.println(rows.next());
                }
            }
        } else {
            result.await();
        }
    }
}
