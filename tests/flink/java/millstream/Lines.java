package millstream;

import java.math.BigDecimal;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.types.Row;

/** Rows as JSON lines: the kind, then the values. */
final class Lines {
    private Lines() {}

    static void line(StringBuilder out, Row row) {
        out.append("[\"").append(row.getKind().shortString()).append('"');
        for (int i = 0; i < row.getArity(); i++) {
            out.append(',');
            value(out, row.getField(i));
        }
        out.append("]\n");
    }

    private static String time(LocalTime time) {
        int nanos = time.getNano();
        String clock = String.format("%02d:%02d:%02d", time.getHour(), time.getMinute(), time.getSecond());
        if (nanos % 1_000_000 == 0) {
            return clock + String.format(".%03d", nanos / 1_000_000);
        }
        return clock + (nanos % 1_000 == 0 ? String.format(".%06d", nanos / 1_000) : String.format(".%09d", nanos));
    }

    private static String timestamp(LocalDateTime time) {
        return time.toLocalDate() + " " + time(time.toLocalTime());
    }

    private static void text(StringBuilder out, String text) {
        out.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 32 || c > 126) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    private static void list(StringBuilder out, Iterable<?> values) {
        out.append('[');
        String separator = "";
        for (Object value : values) {
            out.append(separator);
            value(out, value);
            separator = ",";
        }
        out.append(']');
    }

    private static void value(StringBuilder out, Object value) {
        if (value == null || value instanceof Boolean) {
            out.append(value);
        } else if (value instanceof BigDecimal decimal) {
            text(out, decimal.toPlainString());
        } else if (value instanceof Number number) {
            double d = number.doubleValue();
            if (Double.isNaN(d) || Double.isInfinite(d)) {
                text(out, number.toString());
            } else {
                out.append(number);
            }
        } else if (value instanceof LocalDateTime time) {
            text(out, timestamp(time));
        } else if (value instanceof Instant instant) {
            text(out, timestamp(LocalDateTime.ofInstant(instant, ZoneOffset.UTC)) + "Z");
        } else if (value instanceof LocalTime time) {
            text(out, time(time));
        } else if (value instanceof byte[] bytes) {
            StringBuilder hex = new StringBuilder("0x");
            for (byte b : bytes) {
                hex.append(String.format("%02x", b));
            }
            text(out, hex.toString());
        } else if (value instanceof Row row) {
            list(out, java.util.stream.IntStream.range(0, row.getArity()).mapToObj(row::getField).map(java.util.Optional::ofNullable).toList());
        } else if (value instanceof java.util.Optional<?> field) {
            value(out, field.orElse(null));
        } else if (value instanceof Map<?, ?> map) {
            TreeMap<String, Object> sorted = new TreeMap<>();
            map.forEach((k, v) -> sorted.put(String.valueOf(k), v));
            out.append('{');
            String separator = "";
            for (Map.Entry<String, Object> entry : sorted.entrySet()) {
                out.append(separator);
                text(out, entry.getKey());
                out.append(':');
                value(out, entry.getValue());
                separator = ",";
            }
            out.append('}');
        } else if (value instanceof Collection<?> values) {
            list(out, values);
        } else if (value.getClass().isArray()) {
            java.util.List<Object> values = new java.util.ArrayList<>();
            for (int i = 0; i < java.lang.reflect.Array.getLength(value); i++) {
                values.add(java.lang.reflect.Array.get(value, i));
            }
            list(out, values);
        } else {
            text(out, value.toString());
        }
    }
}
