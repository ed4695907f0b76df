// One process is the whole world: the test server, its browser and the app.

package io.gatepass

import io.gatepass.ffi.FfiTestServer
import java.io.ByteArrayInputStream
import java.net.HttpURLConnection
import java.net.ServerSocket
import java.net.URL
import java.security.KeyStore
import java.security.cert.CertificateFactory
import java.util.concurrent.TimeUnit
import javax.net.ssl.TrustManagerFactory
import javax.net.ssl.X509TrustManager
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.fail

const val REDIRECT = "https://app.example.com/callback"

class World(virtualTime: Boolean = false) : AutoCloseable {
    val server: FfiTestServer = if (virtualTime) FfiTestServer.startInVirtualTime() else FfiTestServer.start()
    val storage = MemoryStorage()
    private val started = ArrayList<AutoCloseable>()

    /** The time of the server and its clients, where it is virtual. */
    private val clock = object : TokenClock {
        override fun currentTimeMillis() = server.unixMillis() ?: System.currentTimeMillis()

        override fun nanoTime() = server.unixMillis()?.let(TimeUnit.MILLISECONDS::toNanos) ?: System.nanoTime()
    }

    /** The first test user, at the browser of the platform. */
    val browser = TestBrowser { url -> server.browserSignIn(url) }

    /** A client as one start of the app makes it. All of them share the storage. */
    fun gatepass(issuer: String = server.issuer(), configure: GatepassConfig.() -> Unit = {}): Gatepass {
        val config = GatepassConfig(issuer, server.clientId()).apply {
            redirect = REDIRECT
            scopes = listOf("openid", "profile", "offline_access")
            allowHttpOnLoopback(AllowHttpOnLoopback)
            api(server.issuer())
            storage = SessionStorage.of(this@World.storage)
            browser = this@World.browser
            tokenClock = clock
            configure()
        }
        return Gatepass(config).also { started += it }
    }

    fun tokenRequests(): Long = server.requestCount("/token").toLong()

    /** Calls the API as an app would, with the token as the one thing that matters; the status. */
    fun callApi(token: AccessToken): Int {
        val connection = URL(server.apiUrl()).openConnection() as HttpURLConnection
        connection.setRequestProperty("Authorization", "Bearer ${token.value}")
        return connection.responseCode.also { connection.disconnect() }
    }

    override fun close() {
        started.forEach { it.close() }
        server.close()
    }
}

/** A browser that hands the redirect back itself. */
class TestBrowser(private val visit: suspend (String) -> String?) : Browser {
    override suspend fun open(url: String, redirectUri: String): String? = visit(url)
}

/** What the call throws, which must be the one exception and say something. */
inline fun <reified T : GatepassException> failureOf(call: () -> Any?): T {
    try {
        call()
    } catch (e: GatepassException) {
        if (e.message.isBlank()) fail("an exception without a message")
        if (e !is T) throw AssertionError("a ${e.javaClass.simpleName}, not a ${T::class.java.simpleName}", e)
        return e
    }
    fail("no exception")
}

/** Waits for a state. */
suspend fun Gatepass.awaitState(wanted: SessionState) {
    withTimeout(20_000) { state.first { it == wanted } }
}

/** Waits until something is so that nothing tells of. */
suspend fun until(what: String, isSo: () -> Boolean) {
    repeat(2_000) {
        if (isSo()) return
        delay(10)
    }
    fail("never: $what")
}

/** An issuer that nobody answers for. */
fun closedPort(): String = ServerSocket(0).use { "http://127.0.0.1:${it.localPort}" }

/** Trusts this root certificate (DER), and no other. */
fun trustIn(rootDer: ByteArray): X509TrustManager {
    val root = CertificateFactory.getInstance("X.509").generateCertificate(ByteArrayInputStream(rootDer))
    val store = KeyStore.getInstance(KeyStore.getDefaultType()).apply {
        load(null)
        setCertificateEntry("root", root)
    }
    val factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()).apply { init(store) }
    return factory.trustManagers.single() as X509TrustManager
}
