// A caller that is cancelled stops waiting, and nothing else.

package io.gatepass

import java.util.concurrent.atomic.AtomicInteger
import kotlin.coroutines.CoroutineContext
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.Runnable
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class CancellationTest {
    /** Cancels the job when it is about to go on for the nth time. */
    private class CancelAt(private val nth: Int) : CoroutineDispatcher() {
        val steps = AtomicInteger()

        override fun dispatch(context: CoroutineContext, block: Runnable) {
            if (steps.incrementAndGet() == nth) context[Job]!!.cancel()
            Dispatchers.Default.dispatch(context, block)
        }
    }

    /** Runs the call once for each of its suspension points, cancelled there; each time, what must hold after it. */
    private suspend fun atEveryStep(call: suspend () -> Unit, holds: suspend () -> Unit): Int {
        for (nth in 1..100) {
            val dispatcher = CancelAt(nth)
            runBlocking {
                val job = launch(dispatcher) {
                    try {
                        call()
                    } catch (e: GatepassException) {
                        // Its end, told in time.
                    }
                }
                withTimeout(20_000) { job.join() }
            }
            holds()
            if (dispatcher.steps.get() < nth) return nth - 1
        }
        throw AssertionError("more suspension points than a hundred")
    }

    @Test
    fun `a refresh that is cancelled at any of its suspension points loses nothing`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val session = gatepass.signIn()
            val steps = atEveryStep({ session.refresh() }) {
                gatepass.drain()
                assertEquals(200, world.callApi(session.accessToken()))
                assertEquals(SessionState.SignedIn, gatepass.state.value)
            }
            assertTrue(steps > 1, "$steps suspension points")
            session.refresh()
            assertEquals(200, world.callApi(world.gatepass().session()!!.accessToken()))
        }
    }

    @Test
    fun `so does a sign-in, and a sign-out`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            atEveryStep({ gatepass.signIn() }) {
                // What was begun before its caller went may come true, and then it is whole.
                gatepass.cancelSignIn()
                gatepass.drain()
                gatepass.session()?.let { assertEquals(200, world.callApi(it.accessToken())) }
            }
            val session = gatepass.session() ?: gatepass.signIn()
            assertEquals(200, world.callApi(session.accessToken()))

            var latest = session
            atEveryStep({ latest.signOut() }) {
                gatepass.drain()
                val now = gatepass.session()
                assertEquals(now == null, gatepass.state.value == SessionState.SignedOut)
                if (now == null) assertNull(latest.peek()) else assertEquals(200, world.callApi(now.accessToken()))
                latest = now ?: gatepass.signIn()
            }
        }
    }

    @Test
    fun `and the request goes on, to its end`() = runBlocking<Unit> {
        World().use { world ->
            val http = HeldTransport(OkHttpTransport())
            val gatepass = world.gatepass { transport = http }
            val session = gatepass.signIn()
            val first = session.accessToken()
            http.hold()
            val caller = launch(Dispatchers.Default) { session.refresh() }
            withTimeout(20_000) { http.arrived.await() }
            caller.cancelAndJoin()
            http.release.complete(Unit)
            gatepass.drain()
            assertFalse(http.cancelled)
            assertEquals(2, world.tokenRequests())
            assertTrue(session.peek() != first)
        }
    }

    @Test
    fun `a browser that is open goes on without its caller`() = runBlocking<Unit> {
        World().use { world ->
            val opened = CompletableDeferred<String>()
            val back = CompletableDeferred<String>()
            val gatepass = world.gatepass {
                browser = TestBrowser { url ->
                    opened.complete(url)
                    back.await()
                }
            }
            val caller = launch(Dispatchers.Default) { gatepass.signIn() }
            val url = withTimeout(20_000) { opened.await() }
            caller.cancelAndJoin()
            back.complete(world.server.browserSignIn(url))
            gatepass.awaitState(SessionState.SignedIn)
            assertEquals(200, world.callApi(gatepass.session()!!.accessToken()))
        }
    }
}

/** HTTP that can be held before its next request. */
class HeldTransport(private val transport: HttpTransport) : HttpTransport {
    val arrived = CompletableDeferred<Unit>()
    val release = CompletableDeferred<Unit>()

    @Volatile
    var cancelled = false

    @Volatile
    private var held = false

    fun hold() {
        held = true
    }

    override suspend fun send(request: HttpRequest): HttpResponse {
        if (held) {
            arrived.complete(Unit)
            try {
                release.await()
            } catch (e: kotlinx.coroutines.CancellationException) {
                cancelled = true
                throw e
            }
        }
        return transport.send(request)
    }
}
