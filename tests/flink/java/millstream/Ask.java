package millstream;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ExplainDetail;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Asks Flink what scripts answer, many in one JVM: {@code Ask print|write|check|explain SCRIPT...}. The last statement of a
 * script is the SELECT that is asked for. Its answer, or the reason why there is none, is printed, written beside the script as
 * {@code .answer}, or compared with what stands there.
 */
public final class Ask {
    private static final int AT_A_TIME = 6;
    private static final long PAUSE_MS = Long.getLong("pause", 40);
    private static final Pattern PATH = Pattern.compile("'path'\\s*=\\s*'file://([^']+)'");

    private Ask() {}

    public static void main(String[] args) throws Exception {
        String what = args[0];
        MiniCluster cluster = cluster();
        ExecutorService workers = Executors.newFixedThreadPool(AT_A_TIME);
        List<Path> scripts = Arrays.stream(args).skip(1).map(Path::of).map(Path::toAbsolutePath).toList();
        List<Future<String>> answers = new ArrayList<>();
        for (Path script : scripts) {
            Callable<String> asked = () -> answer(script, cluster, what.equals("explain"));
            answers.add(workers.submit(asked));
        }
        int different = 0;
        for (int i = 0; i < scripts.size(); i++) {
            String answer = answers.get(i).get();
            String name = scripts.get(i).getFileName().toString();
            Path kept = scripts.get(i).resolveSibling(name.replace(".sql", ".answer"));
            boolean same = what.matches("write|check") && same(scripts.get(i), kept, answer);
            if (what.equals("write") && !same) {
                Files.writeString(kept, answer);
                System.out.println(name + ": " + (answer.startsWith("[") ? answer.lines().count() + " rows" : answer.strip()));
            } else if (what.equals("check") && !same) {
                different++;
                System.out.println(name + " differs:\n" + answer);
            } else if (what.matches("print|explain")) {
                System.out.println("== " + name + "\n" + answer);
            }
            System.out.flush();
        }
        if (what.equals("check")) {
            System.out.println(scripts.size() + " scripts, " + different + " answers differ");
        }
        System.exit(different == 0 ? 0 : 1);
    }

    /**
     * Whether this is the answer that is kept, by what the script says of itself. Flink fixes the order of what one operator
     * emits for a row, but not that of keys whose timers are due at once, nor which of a join's inputs a row reaches first when
     * both come from one table: an answer that differs in nothing else stays as it was written first.
     */
    private static boolean same(Path script, Path kept, String answer) throws Exception {
        if (!Files.exists(kept)) {
            return false;
        }
        List<String> before = Files.readString(kept).lines().toList();
        List<String> now = answer.lines().toList();
        String how = Files.readString(script).lines().limit(2).filter(l -> l.matches("-- (compare|when built): .*"))
                .map(l -> l.replaceAll(".*: ", "")).reduce("rows", (a, b) -> b);
        return switch (how) {
            case "order", "failure" -> before.equals(now);
            case "table", "refused" -> before.equals(now) || table(before).equals(table(now));
            default -> before.stream().sorted().toList().equals(now.stream().sorted().toList());
        };
    }

    /** What changes lead to: each row with how often it is there. */
    private static Map<String, Integer> table(List<String> changes) {
        Map<String, Integer> table = new TreeMap<>();
        for (String change : changes) {
            int sign = change.startsWith("[\"-") ? -1 : 1;
            table.merge(change.substring(Math.min(5, change.length())), sign, (a, b) -> a + b == 0 ? null : a + b);
        }
        return table;
    }

    private static MiniCluster cluster() throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("rest.port", "0");
        configuration.setString("rest.bind-address", "127.0.0.1");
        configuration.setString("rest.address", "127.0.0.1");
        configuration.setString("taskmanager.memory.network.min", "512mb");
        configuration.setString("taskmanager.memory.network.max", "512mb");
        MiniCluster cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
                .setConfiguration(configuration).setNumTaskManagers(1).setNumSlotsPerTaskManager(AT_A_TIME * 4).build());
        cluster.start();
        return cluster;
    }

    private static TableEnvironment environment(MiniCluster cluster) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("execution.target", "remote");
        configuration.setString("rest.address", "127.0.0.1");
        configuration.setString("rest.port", String.valueOf(cluster.getRestAddress().get().getPort()));
        configuration.setString("parallelism.default", "1");
        configuration.setString("execution.buffer-timeout.interval", "0 ms");
        configuration.setString("pipeline.auto-watermark-interval", "0 ms");
        configuration.setString("table.local-time-zone", "UTC");
        configuration.setString("restart-strategy.type", "disable");
        return TableEnvironment.create(EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
    }

    private static String answer(Path script, MiniCluster cluster, boolean explain) {
        String job = script.toString() + " " + System.nanoTime();
        try {
            String text = Files.readString(script).replace("${DIR}", "file://" + script.getParent());
            if (paced(text)) {
                text = text.replaceAll("'connector'\\s*=\\s*'filesystem'", Matcher.quoteReplacement("'connector'='paced','job'='" + job + "'"));
            }
            List<String> statements = Script.statements(text);
            TableEnvironment flink = environment(cluster);
            for (String statement : statements.subList(0, statements.size() - 1)) {
                if (!Script.set(flink, statement)) {
                    flink.executeSql(statement);
                }
            }
            String asked = statements.get(statements.size() - 1);
            String plan = flink.explainSql(asked, ExplainDetail.CHANGELOG_MODE);
            if (explain) {
                return plan;
            }
            String optimized = plan.substring(plan.indexOf("== Optimized Execution Plan =="));
            int sources = optimized.split("TableSourceScan\\(", -1).length - 1;
            boolean order = sources > 1 || optimized.contains("Reused(") || optimized.contains("PROCTIME");
            Turns.expect(job, sources, order ? PAUSE_MS : 0);
            StringBuilder out = new StringBuilder();
            try (CloseableIterator<Row> rows = flink.executeSql(asked).collect()) {
                while (rows.hasNext()) {
                    Lines.line(out, rows.next());
                }
            }
            return out.toString();
        } catch (Throwable e) {
            return Script.reason(e) + "\n";
        } finally {
            Turns.forget(job);
        }
    }

    /** Whether a file of the script has lines with "_at". */
    private static boolean paced(String text) throws Exception {
        Matcher path = PATH.matcher(text);
        while (path.find()) {
            Path file = Path.of(path.group(1));
            if (Files.isRegularFile(file) && Files.readString(file).contains("\"_at\"")) {
                return true;
            }
        }
        return false;
    }
}
