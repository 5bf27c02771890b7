package millstream;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.api.TableEnvironment;

/** The statements of a script, as the Millstream binary splits them. */
final class Script {
    private static final Pattern SET = Pattern.compile("SET\\s+'([^']*)'\\s*=\\s*'([^']*)'", Pattern.CASE_INSENSITIVE);

    private Script() {}

    /** Cuts at semicolons outside of quotes and comments; a statement set is one statement. Comments are left out. */
    static List<String> statements(String text) {
        List<String> statements = new ArrayList<>();
        StringBuilder statement = new StringBuilder();
        int i = 0;
        while (i < text.length()) {
            char c = text.charAt(i);
            int end = i + 1;
            if (text.startsWith("--", i)) {
                end = text.indexOf('\n', i);
                i = end < 0 ? text.length() : end;
                continue;
            } else if (c == '\'' || c == '`') {
                end = text.indexOf(c, i + 1);
                end = end < 0 ? text.length() : end + 1;
            } else if (c == ';' && !insideSet(statement)) {
                add(statements, statement);
                i++;
                continue;
            }
            statement.append(text, i, end);
            i = end;
        }
        add(statements, statement);
        return statements;
    }

    private static boolean insideSet(CharSequence statement) {
        String text = statement.toString().strip().toUpperCase(Locale.ROOT);
        return text.matches("(?s)(EXECUTE|BEGIN)\\s+STATEMENT\\s+SET.*") && !text.matches("(?s).*[\\s;]END");
    }

    private static void add(List<String> statements, StringBuilder statement) {
        String text = statement.toString().strip();
        if (!text.isEmpty()) {
            statements.add(text);
        }
        statement.setLength(0);
    }

    /** Carries out a SET; false for any other statement. */
    static boolean set(TableEnvironment flink, String statement) {
        Matcher set = SET.matcher(statement);
        if (set.matches()) {
            flink.getConfig().set(set.group(1), set.group(2));
            return true;
        }
        return false;
    }

    static String reason(Throwable e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.toString().lines().findFirst().orElse("");
    }
}
