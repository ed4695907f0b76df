// The HTTP of these tests keeps the contract of the core: a transport that does not could hide what it breaks.

package io.gatepass

import io.gatepass.core.FfiDelivery
import io.gatepass.core.FfiHttpFailure
import io.gatepass.core.FfiHttpFailureReason
import io.gatepass.core.FfiHttpRequest
import io.gatepass.core.FfiTestServer
import java.net.ServerSocket
import java.net.Socket
import java.net.SocketException
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.fail

class TransportTest {
    private val http = JdkHttpTransport()

    @Test
    fun `a request whose server hangs up is sent once, and its outcome is unknown`() = runBlocking<Unit> {
        for (method in listOf("POST", "GET")) {
            OddServer { socket ->
                val body = if (method == "POST") "code=x" else ""
                val text = StringBuilder()
                while (!text.endsWith("\r\n\r\n$body")) text.append(socket.getInputStream().read().toChar())
            }.use { server ->
                assertEquals(unknown(FfiHttpFailureReason.CONNECTION_LOST), failure(request(server.url, method)))
                assertEquals(1, server.connections.get(), method)
            }
        }
    }

    @Test
    fun `the deadline holds for silence, and for a body that never ends`() = runBlocking<Unit> {
        val endless = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"
        for (said in listOf("", endless)) {
            OddServer { socket ->
                socket.getOutputStream().write(said.toByteArray())
                while (socket.getInputStream().read() >= 0) Unit
            }.use { server ->
                val start = System.nanoTime()
                val failure = failure(request(server.url, "GET").copy(timeoutMillis = 300u))
                assertEquals(unknown(FfiHttpFailureReason.TIMEOUT), failure)
                assertTrue(System.nanoTime() - start < 3_000_000_000)
            }
        }
    }

    @Test
    fun `a redirect is an answer`() = runBlocking<Unit> {
        FfiTestServer.start().use { server ->
            val back = "${server.issuer()}/callback"
            val url = "${server.issuer()}/authorize?client_id=${server.clientId()}&redirect_uri=$back&response_type=token"
            val answer = http.send(request(url, "GET"))
            assertTrue(answer.status.toInt() in 300..399, answer.toString())
            assertTrue(answer.headers.any { it.name.equals("location", ignoreCase = true) })
            assertEquals(0uL, server.requestCount("/callback"))
        }
    }

    @Test
    fun `a body longer than allowed is cut, one that just fits is not`() = runBlocking<Unit> {
        FfiTestServer.start().use { server ->
            val request = request("${server.issuer()}/.well-known/openid-configuration", "GET")
            val length = http.send(request).body.size.toULong()
            assertEquals(length.toInt(), http.send(request.copy(maxResponseBytes = length)).body.size)
            val failure = failure(request.copy(maxResponseBytes = length - 1uL))
            assertEquals(unknown(FfiHttpFailureReason.BODY_TOO_LARGE), failure)
        }
    }

    private fun request(url: String, method: String) = FfiHttpRequest(
        method = method,
        url = url,
        headers = emptyList(),
        body = if (method == "POST") "code=x".toByteArray() else ByteArray(0),
        timeoutMillis = 10_000u,
        maxResponseBytes = 1_000_000u,
        maxConnectionIdleMillis = null,
    )

    private fun unknown(reason: FfiHttpFailureReason) = FfiDelivery.UNKNOWN_OUTCOME to reason

    private suspend fun failure(request: FfiHttpRequest): Pair<FfiDelivery, FfiHttpFailureReason> {
        try {
            http.send(request)
        } catch (e: FfiHttpFailure.Failed) {
            return e.delivery to e.reason
        }
        fail("no failure")
    }
}

/** A server that does one odd thing with every connection, then closes it. */
private class OddServer(private val serve: (Socket) -> Unit) : AutoCloseable {
    private val listener = ServerSocket(0)
    val connections = AtomicInteger()
    val url = "http://127.0.0.1:${listener.localPort}/token"

    init {
        thread(isDaemon = true) {
            try {
                while (true) {
                    val socket = listener.accept()
                    connections.incrementAndGet()
                    socket.use(serve)
                }
            } catch (e: SocketException) {
                // Closed, by this side or the other: the test looks at what the client made of it.
            }
        }
    }

    override fun close() = listener.close()
}
