// HTTP of the platform: the JDK's HttpURLConnection stands in for Android's here.

package io.gatepass.android

import com.sun.net.httpserver.HttpServer
import io.gatepass.ForeignTransport
import io.gatepass.HttpRequest
import io.gatepass.Revocation
import io.gatepass.World
import io.gatepass.ffi.FfiHttpSuite
import io.gatepass.trustIn
import java.io.File
import java.net.InetSocketAddress
import javax.net.ssl.SSLContext
import javax.net.ssl.SSLSocketFactory
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

class UrlConnectionTransportTest {
    /**
     * What the platforms' clients do and cannot be kept from. A GET of the core's is safe to repeat (RFC 9110 §9.2.2): it
     * carries no code and no refresh token. And no server sends 103 to a client that did not ask for it (RFC 8297 §2).
     */
    private val everywhere = listOf("informational answers")

    /** What Android's does besides. */
    private val android = everywhere + listOf(
        // 407 alone, which only a proxy sends (RFC 9110 §15.5.8): the test below has the others.
        "a status other than 2xx is an answer",
        // They are read until the deadline.
        "headers without end are cut",
    )

    private fun keepsTheContract(transport: (SSLSocketFactory) -> UrlConnectionTransport, unavoidable: List<String>) =
        runBlocking<Unit> {
            FfiHttpSuite().use { suite ->
                val report = suite.run(ForeignTransport(transport(trusting(suite.rootDer()))))
                println("kept: ${report.kept.size}, skipped: ${report.skipped.size}, broken: ${report.broken}")
                val others = report.broken.filter { broken -> unavoidable.none { it in broken } }
                assertEquals(emptyList<String>(), others)
                assertTrue(report.kept.size + report.broken.size >= 27, "${report.kept.size} were looked at")
            }
        }

    /** The real thing, in the version of this level. */
    private fun onAndroid(level: String, unavoidable: List<String>) {
        val jar = File(System.getProperty("gatepass.built"), "gatepass-tests/android/$level.jar")
        AndroidHttp(jar).use { http ->
            keepsTheContract({ sockets -> UrlConnectionTransport(http::open) { sockets } }, unavoidable)
        }
    }

    @Test
    @Timeout(300)
    fun `the transport keeps the contract of the port on the oldest Android`() =
        // No TLS 1.3 before Android 10.
        onAndroid("oldest", android + "TLS 1.2 and 1.3 with HTTP/1.1")

    @Test
    @Timeout(300)
    fun `the transport keeps the contract of the port on the newest Android`() = onAndroid("newest", android)

    @Test
    fun `every status but 407 is an answer on Android, with its body`() = runBlocking<Unit> {
        val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
        server.createContext("/") { exchange ->
            val status = exchange.requestURI.path.substring(1).toInt()
            exchange.requestBody.readBytes()
            exchange.sendResponseHeaders(status, if (status == 204) -1 else 2)
            if (status != 204) exchange.responseBody.write("hi".toByteArray())
            exchange.close()
        }
        server.start()
        try {
            for (level in listOf("oldest", "newest")) {
                AndroidHttp(File(System.getProperty("gatepass.built"), "gatepass-tests/android/$level.jar")).use { http ->
                    val transport = UrlConnectionTransport(http::open)
                    for (status in listOf(200, 201, 204, 301, 302, 307, 400, 401, 403, 404, 408, 410, 429, 451, 500, 503, 599)) {
                        val url = "http://127.0.0.1:${server.address.port}/$status"
                        val answer = transport.send(HttpRequest("POST", url, emptyList(), "a=b".toByteArray(), 10_000, 100, 0))
                        assertEquals(status, answer.status)
                        assertEquals(if (status == 204) "" else "hi", String(answer.body), "$status")
                    }
                }
            }
        } finally {
            server.stop(0)
        }
    }

    @Test
    @Timeout(300)
    fun `the transport keeps the contract of the port on the JDK, as far as that can`() = keepsTheContract(
        { sockets -> UrlConnectionTransport(sockets = { sockets }) },
        everywhere + listOf(
            "connection dies on it: a GET",
            // An answer without a body goes back to the pool before anybody can close it.
            "a connection that idled too long carries no request",
            // Headers that break off are taken for whole ones.
            "an answer that is none, or not whole",
        ),
    )

    @Test
    fun `a whole journey over it`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass { transport = UrlConnectionTransport() }.signIn()
            session.refresh()
            assertEquals(200, world.callApi(session.accessToken()))
            assertEquals(Revocation.Done, session.signOut().revocation)
        }
    }

    private fun trusting(rootDer: ByteArray): SSLSocketFactory {
        return SSLContext.getInstance("TLS").apply { init(null, arrayOf(trustIn(rootDer)), null) }.socketFactory
    }
}
