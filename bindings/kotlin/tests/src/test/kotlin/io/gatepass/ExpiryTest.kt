// When a token ends: one refresh for everybody, and nothing handed out too long.

package io.gatepass

import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test

private const val A_YEAR = 31_536_000_000uL

class ExpiryTest {
    @Test
    fun `ten thousand coroutines at expiry cause one refresh`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val session = world.gatepass().signIn()
            val old = session.accessToken()
            world.server.advance(session.expiresInMillis()!!.toULong())
            assertNull(session.peek())
            val asked = AtomicInteger()
            world.server.holdTokenRequest().use { gate ->
                val tokens = (1..10_000).map {
                    async(Dispatchers.Default) {
                        asked.incrementAndGet()
                        session.accessToken()
                    }
                }
                gate.arrived(1uL)
                until("all have asked") { asked.get() == 10_000 }
                gate.release()
                val all = tokens.awaitAll().toSet()
                assertEquals(1, all.size)
                assertNotEquals(old, all.single())
                assertEquals(all.single(), session.peek())
            }
            assertEquals(2, world.tokenRequests())
        }
    }

    @Test
    fun `a token is refreshed ahead of its end, and handed out until then`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val session = world.gatepass().signIn()
            val old = session.accessToken()
            // Of an hour, fifty-eight minutes: still good, but not for long.
            world.server.advance((session.expiresInMillis()!! - 30_000).toULong())
            assertEquals(old, session.peek())
            assertNull(session.peekFresh())
            assertNotEquals(old, session.accessToken())
            assertNotNull(session.peekFresh())
            assertEquals(2, world.tokenRequests())
        }
    }

    @Test
    fun `a machine that slept, and a wall clock that was set back, hand nothing out`() = runBlocking<Unit> {
        World().use { world ->
            val clock = object : TokenClock {
                var nanos = 0L
                var millis = 0L

                override fun nanoTime() = System.nanoTime() + nanos

                override fun currentTimeMillis() = System.currentTimeMillis() + millis
            }
            val gatepass = world.gatepass { tokenClock = clock }
            val session = gatepass.signIn()
            val lifetime = session.expiresInMillis()!!
            val token = session.peek()
            assertNotNull(token)
            // The clock of the JVM stops in sleep, the wall clock does not.
            clock.millis += lifetime
            assertNull(session.peek())
            // Set by hand: the one that nobody sets counts.
            clock.millis -= lifetime
            clock.nanos += lifetime * 1_000_000
            assertNull(session.peek())
            clock.nanos -= lifetime * 1_000_000
            assertEquals(token, session.peek())
            clock.millis -= 3_600_000
            assertNull(session.peek())
            // The core knows that it is good, and the copy is good again by the clock as it is now.
            assertEquals(token, session.accessToken())
            assertEquals(1, world.tokenRequests())
        }
    }

    @Test
    fun `a session that the server gave up in a year's absence ends`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val gatepass = world.gatepass()
            val session = gatepass.signIn()
            world.server.advance(A_YEAR)
            assertNull(session.peek())
            val ended = failureOf<GatepassException.SessionEnded> { session.accessToken() }
            assertEquals(EndReason.EXPIRED_OR_REVOKED, ended.reason)
            assertEquals(SessionState.Ended(EndReason.EXPIRED_OR_REVOKED), gatepass.state.value)
        }
    }
}
