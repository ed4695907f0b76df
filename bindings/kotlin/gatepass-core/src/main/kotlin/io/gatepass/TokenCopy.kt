// What is handed out without a call across the FFI: a copy of what the core publishes, and until when it is good.

package io.gatepass

import io.gatepass.ffi.FfiSnapshot
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicReference
import kotlinx.coroutines.flow.MutableStateFlow

/** An access token. Secret: it does not print. */
public class AccessToken internal constructor(
    /** The token, for the `Authorization` header of a request to one of the app's APIs. */
    public val value: String,
) {
    override fun equals(other: Any?): Boolean = other is AccessToken && other.value == value

    override fun hashCode(): Int = value.hashCode()

    override fun toString(): String = "AccessToken(redacted)"
}

/**
 * One token, and until when it is good.
 *
 * The JVM has no clock that counts sleep without a native call. So there are two limits, and both must hold: by the clock
 * that nobody sets, and by the wall clock, which counts sleep. A wall clock earlier than when the copy was taken says
 * nothing, and the token counts as expired: then the core is asked, which knows better.
 */
internal class TokenCopy private constructor(
    val epoch: ULong,
    val generation: ULong,
    val token: AccessToken,
    private val takenAtUnixMillis: Long,
    private val fresh: Limit?,
    private val usable: Limit?,
) {
    private class Limit(val nanos: Long, val unixMillis: Long)

    /** Whether it may be handed out. */
    fun isUsable(clock: TokenClock): Boolean = holds(usable, clock)

    /** Whether it may be handed out with no word to the core, which refreshes a token ahead of its end. */
    fun isFresh(clock: TokenClock): Boolean = holds(fresh, clock)

    private fun holds(limit: Limit?, clock: TokenClock): Boolean {
        if (limit == null) return true
        val wall = clock.currentTimeMillis()
        // The difference, as the clock may run over.
        return wall >= takenAtUnixMillis && wall < limit.unixMillis && clock.nanoTime() - limit.nanos < 0
    }

    companion object {
        fun of(snapshot: FfiSnapshot, epoch: ULong, clock: TokenClock): TokenCopy {
            // What passed since the core read its clocks, should this thread, or the machine, have slept.
            val late = (clock.currentTimeMillis() - snapshot.takenAtUnixMillis).coerceAtLeast(0)
            val now = clock.nanoTime()
            fun limit(left: ULong?, unixMillis: Long?): Limit? {
                if (left == null || unixMillis == null) return null
                // A year at most: no clock runs over in that.
                val millis = (left.coerceAtMost(YEAR).toLong() - late).coerceAtLeast(0)
                return Limit(now + TimeUnit.MILLISECONDS.toNanos(millis), unixMillis)
            }
            return TokenCopy(
                epoch,
                snapshot.generation,
                AccessToken(snapshot.token),
                snapshot.takenAtUnixMillis,
                limit(snapshot.freshForMillis, snapshot.refreshAtUnixMillis),
                limit(snapshot.usableForMillis, snapshot.usableUntilUnixMillis),
            )
        }

        private val YEAR = TimeUnit.DAYS.toMillis(365).toULong()
    }
}

/** Where one session lives: one place for all sign-ins to it, one after the other. */
internal class SessionPlace {
    val state = MutableStateFlow<SessionState>(SessionState.Loading)

    val copy = AtomicReference<TokenCopy?>()
}
