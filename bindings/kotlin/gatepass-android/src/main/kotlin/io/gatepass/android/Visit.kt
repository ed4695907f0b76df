// One visit to the browser, from its first rung to its end. Decides; knows nothing of Android's classes.

package io.gatepass.android

/** What a browser answers that was started for a result (the constants of `AuthTabIntent`). */
internal object TabResult {
    const val OK: Int = -1
    const val CANCELED: Int = 0
    const val VERIFICATION_FAILED: Int = 2
    const val VERIFICATION_TIMED_OUT: Int = 3
}

/** How a visit ended, other than by its redirect. */
internal enum class VisitEnd {
    /** The user came back without signing in. */
    CANCELLED,

    /** The browser found that the redirect's host does not name this app. */
    NOT_ASSOCIATED,

    /** No browser could be started. */
    NO_BROWSER,
}

/** What the activity is to do. */
internal sealed class Order {
    /** Start this browser. */
    data class Launch(val step: Step) : Order()

    /** Wait so long, and then say [Visit.graceOver]. */
    data class Wait(val millis: Long) : Order()

    /** Hand this redirect on, and close. */
    data class Redirect(val url: String) : Order()

    /** Say so, and close. */
    data class End(val end: VisitEnd) : Order()

    /** Nothing. */
    object Nothing : Order()
}

/**
 * The state of a visit. Told what happens, it says what to do; all calls on the one thread of the activity.
 *
 * A user who comes back without a redirect has cancelled, but not at once: where a browser falls back to a Custom Tab it says
 * "cancelled" first and the redirect comes as an intent after that, and Android resumes the activity under a tab in either
 * order with the intent.
 */
internal class Visit(
    private val steps: List<Step>,
    private val manufacturer: String,
    private var at: Int = -1,
    private var leftAtMillis: Long = 0,
) {
    private var waiting = false
    private var over = false

    /** What is kept where the process may die behind the browser. */
    fun position(): Int = at

    /** The activity is in front, for the first time or again. */
    fun resumed(): Order = when {
        over -> Order.Nothing
        at < 0 -> next(VisitEnd.NO_BROWSER, 0)
        waiting -> Order.Nothing
        // An Auth Tab answers for itself; the answer comes before this.
        else -> grace()
    }

    /** The browser was started, and is in front now. */
    fun started(nowMillis: Long) {
        leftAtMillis = nowMillis
    }

    /** The browser could not be started. */
    fun notStarted(): Order = if (over) Order.Nothing else next(VisitEnd.NO_BROWSER, 0)

    /** An Auth Tab was closed. */
    fun result(code: Int, url: String?, nowMillis: Long): Order = when {
        over -> Order.Nothing
        code == TabResult.OK && url != null -> redirect(url)
        code == TabResult.VERIFICATION_FAILED -> next(VisitEnd.NOT_ASSOCIATED, nowMillis)
        // The browser could not ask the host in time: nobody's fault, and a tab needs no such question.
        code == TabResult.VERIFICATION_TIMED_OUT -> next(VisitEnd.CANCELLED, nowMillis)
        code == TabResult.CANCELED && closedByTheDevice(nowMillis) -> next(VisitEnd.CANCELLED, nowMillis)
        // An answer that nobody knows counts as none.
        else -> grace()
    }

    /** A redirect came as an intent. */
    fun redirect(url: String): Order {
        if (over) return Order.Nothing
        over = true
        return Order.Redirect(url)
    }

    /** The grace has passed, and no redirect came. */
    fun graceOver(): Order = if (over || !waiting) Order.Nothing else end(VisitEnd.CANCELLED)

    /** The activity went out of sight before that: whatever covers it may be the browser. */
    fun paused() {
        waiting = false
    }

    private fun grace(): Order {
        if (waiting) return Order.Nothing
        waiting = true
        return Order.Wait(GRACE_MILLIS)
    }

    private fun closedByTheDevice(nowMillis: Long) =
        steps.getOrNull(at)?.rung == Rung.AUTH_TAB && manufacturer.lowercase() in CLOSES_AUTH_TABS &&
            nowMillis - leftAtMillis < TOO_FAST_FOR_A_PERSON_MILLIS

    private fun next(orElse: VisitEnd, nowMillis: Long): Order {
        at += 1
        waiting = false
        leftAtMillis = nowMillis
        return steps.getOrNull(at)?.let(Order::Launch) ?: end(orElse)
    }

    private fun end(how: VisitEnd): Order {
        over = true
        return Order.End(how)
    }

    companion object {
        /** The redirect of a browser that was faster with its "cancelled" is there by then. */
        const val GRACE_MILLIS: Long = 700

        /** Nobody closes a page before they have seen it. */
        const val TOO_FAST_FOR_A_PERSON_MILLIS: Long = 1_500
    }
}
