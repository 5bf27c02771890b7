package millstream;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Whose turn it is among the sources of one job, all of them in one JVM: rows go out one at a time, in the order of "_at"
 * over all files, with a pause after each in which the job works it off. No source ends before the last row is out.
 */
final class Turns {
    private static final Map<String, Turns> JOBS = new ConcurrentHashMap<>();

    private final int sources;
    private final long pause;
    private int opened;
    /** Rows that are still to come: "_at" and source, with how many lines have that number. */
    private final TreeMap<String, Integer> waiting = new TreeMap<>();

    private Turns(int sources, long pause) {
        this.sources = sources;
        this.pause = pause;
    }

    static void expect(String job, int sources, long pause) {
        JOBS.put(job, new Turns(sources, pause));
    }

    static void forget(String job) {
        JOBS.remove(job);
    }

    static Turns of(String job) {
        return JOBS.get(job);
    }

    private static String key(long at, String source) {
        return String.format("%019d %s", at, source);
    }

    /** Announces a source and the numbers of all its rows, and waits for the other sources. */
    synchronized void open(String source, Iterable<Long> rows) throws InterruptedException {
        for (long at : rows) {
            waiting.merge(key(at, source), 1, Integer::sum);
        }
        opened++;
        notifyAll();
        while (opened < sources) {
            wait();
        }
    }

    synchronized void await(long at, String source) throws InterruptedException {
        while (!waiting.firstKey().equals(key(at, source))) {
            wait();
        }
    }

    /** The row is out. */
    void done(long at, String source) throws InterruptedException {
        if (pause > 0) {
            Thread.sleep(pause);
        }
        synchronized (this) {
            waiting.computeIfPresent(key(at, source), (k, n) -> n == 1 ? null : n - 1);
            notifyAll();
        }
    }

    synchronized void awaitAll() throws InterruptedException {
        while (!waiting.isEmpty()) {
            wait();
        }
    }
}
