// The core's HTTP by HttpURLConnection: with the proxies, VPNs, enterprise roots and pins of the platform.

package io.gatepass.android

import io.gatepass.Delivery
import io.gatepass.HttpFailure
import io.gatepass.HttpFailureReason
import io.gatepass.HttpHeader
import io.gatepass.HttpRequest
import io.gatepass.HttpResponse
import io.gatepass.HttpTransport
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.io.InputStream
import java.net.ConnectException
import java.net.HttpURLConnection
import java.net.InetAddress
import java.net.MalformedURLException
import java.net.NoRouteToHostException
import java.net.ProtocolException
import java.net.Socket
import java.net.SocketTimeoutException
import java.net.URL
import java.net.UnknownHostException
import java.security.cert.CertificateException
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import javax.net.ssl.HttpsURLConnection
import javax.net.ssl.SNIHostName
import javax.net.ssl.SSLException
import javax.net.ssl.SSLPeerUnverifiedException
import javax.net.ssl.SSLSocket
import javax.net.ssl.SSLSocketFactory
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlinx.coroutines.CancellableContinuation
import kotlinx.coroutines.suspendCancellableCoroutine

/**
 * HTTP by the platform's own client, a connection for each request.
 *
 * The platform sends a POST a second time when the first connection breaks, unless the length of its body is said before:
 * then it cannot, and does not. A GET it may send twice; the core's carry no token that is used up.
 */
internal class UrlConnectionTransport(
    private val open: (URL) -> HttpURLConnection = { it.openConnection() as HttpURLConnection },
    private val sockets: () -> SSLSocketFactory = { HttpsURLConnection.getDefaultSSLSocketFactory() },
) : HttpTransport {
    override suspend fun send(request: HttpRequest): HttpResponse = suspendCancellableCoroutine { waiting ->
        val exchange = Exchange(request, waiting)
        WORKERS.execute(exchange)
        // Its own, because a connection knows only how long one read may take.
        val deadline = TIMER.schedule(exchange::expire, request.timeoutMillis, TimeUnit.MILLISECONDS)
        waiting.invokeOnCancellation { exchange.abandon() }
        exchange.whenOver { deadline.cancel(false) }
    }

    private inner class Exchange(
        private val request: HttpRequest,
        private val waiting: CancellableContinuation<HttpResponse>,
    ) : Runnable {
        private val over = AtomicBoolean()

        @Volatile
        private var after: (() -> Unit)? = null

        @Volatile
        private var connection: HttpURLConnection? = null

        /** Whether a byte of the body, or of a request without one, can have left. */
        @Volatile
        private var sending = false

        @Volatile
        private var securing = false

        fun whenOver(then: () -> Unit) {
            after = then
            if (over.get()) then()
        }

        fun expire() = answer { failure(HttpFailureReason.TIMEOUT) }

        fun abandon() {
            over.set(true)
            close()
        }

        override fun run() {
            if (over.get()) return
            try {
                val response = try {
                    exchange()
                } finally {
                    // Before anybody goes on: a connection that was read to its end is given back to the pool otherwise.
                    connection?.disconnect()
                }
                if (over.compareAndSet(false, true)) waiting.resume(response)
            } catch (e: HttpFailure) {
                answer { e }
            } catch (e: IOException) {
                answer { failure(reason(e)) }
            } catch (e: RuntimeException) {
                // HttpURLConnection throws a few of these at answers that are none.
                answer { failure(if (sending) HttpFailureReason.INVALID_ANSWER else HttpFailureReason.OTHER) }
            } finally {
                after?.invoke()
            }
        }

        private fun answer(failure: () -> HttpFailure) {
            if (!over.compareAndSet(false, true)) return
            waiting.resumeWithException(failure())
            close()
        }

        private fun failure(reason: HttpFailureReason) =
            HttpFailure(if (sending) Delivery.UNKNOWN_OUTCOME else Delivery.NOT_SENT, reason)

        /** May wait for a lock that the working thread holds while it reads: so not on the thread of a caller. */
        private fun close() {
            val connection = connection ?: return
            WORKERS.execute { connection.disconnect() }
        }

        private fun exchange(): HttpResponse {
            val connection = prepare()
            this.connection = connection
            if (over.get()) throw HttpFailure(Delivery.NOT_SENT, HttpFailureReason.TIMEOUT)
            connection.connect()
            sending = true
            if (request.hasBody) connection.outputStream.use { it.write(request.body) }
            val status = connection.responseCode
            // Of the informational ones the platform passes over 100 alone.
            if (status < 200) throw ProtocolException("no final answer")
            val headers = headers(connection)
            checkOneLength(headers)
            // Where the status is one of failure the platform throws at the plain stream.
            val stream = if (status >= 400) connection.errorStream else connection.inputStream
            val body = stream?.use { read(it, request.maxResponseBytes) } ?: ByteArray(0)
            val promised = headers.firstOrNull { it.name.equals("Content-Length", ignoreCase = true) }?.value?.toLongOrNull()
            val bodiless = request.method == "HEAD" || status == 204 || status == 304
            // Not every platform minds.
            if (promised != null && promised > body.size && !bodiless) throw IOException("cut short")
            return HttpResponse(status, headers, body)
        }

        private fun prepare(): HttpURLConnection {
            val refused = HttpFailure(Delivery.NOT_SENT, HttpFailureReason.INVALID_REQUEST)
            val connection = try {
                open(URL(request.url))
            } catch (e: MalformedURLException) {
                throw refused
            }
            try {
                connection.requestMethod = request.method
                connection.instanceFollowRedirects = false
                connection.useCaches = false
                connection.allowUserInteraction = false
                val timeout = request.timeoutMillis.coerceIn(1, Int.MAX_VALUE.toLong()).toInt()
                connection.connectTimeout = timeout
                connection.readTimeout = timeout
                // A connection that dies while it idles is the classic cause of a request whose outcome nobody knows.
                connection.setRequestProperty("Connection", "close")
                // Nothing is decoded: what comes is counted as it comes.
                connection.setRequestProperty("Accept-Encoding", "identity")
                connection.setRequestProperty("User-Agent", "gatepass")
                val set = HashSet<String>()
                for (header in request.headers) {
                    // The first of a name takes the place of ours, the others come beside it.
                    if (set.add(header.name.lowercase())) {
                        connection.setRequestProperty(header.name, header.value)
                    } else {
                        connection.addRequestProperty(header.name, header.value)
                    }
                }
                if (request.hasBody) {
                    connection.doOutput = true
                    connection.setFixedLengthStreamingMode(request.body.size)
                }
            } catch (e: ProtocolException) {
                throw refused
            } catch (e: IllegalArgumentException) {
                throw refused
            }
            if (connection is HttpsURLConnection) {
                securing = true
                // Of our own: the platform shares connections among those with the same one, and keeps the app's for minutes.
                connection.sslSocketFactory = OwnSocketFactory(sockets())
            }
            return connection
        }

        private fun reason(e: IOException): HttpFailureReason = when {
            e is SocketTimeoutException -> HttpFailureReason.TIMEOUT
            e is UnknownHostException -> HttpFailureReason.NAME_NOT_RESOLVED
            e is SSLPeerUnverifiedException || causes(e).any { it is CertificateException } -> HttpFailureReason.TLS_CERTIFICATE
            !sending && e.message.orEmpty().contains("tunnel", ignoreCase = true) -> HttpFailureReason.PROXY
            e is ConnectException || e is NoRouteToHostException -> HttpFailureReason.CONNECT
            // "HTTPS hostname wrong" of the JDK is a plain IOException.
            !sending && e.message.orEmpty().contains("hostname", ignoreCase = true) -> HttpFailureReason.TLS_CERTIFICATE
            !sending && (e is SSLException || securing) -> HttpFailureReason.TLS
            e is ProtocolException || e.message.orEmpty().contains("Invalid Http") -> HttpFailureReason.INVALID_ANSWER
            sending -> HttpFailureReason.CONNECTION_LOST
            else -> HttpFailureReason.CONNECT
        }
    }

    private companion object {
        fun daemon(name: String) = ThreadFactory { work -> Thread(work, name).apply { isDaemon = true } }

        val WORKERS = ThreadPoolExecutor(0, Int.MAX_VALUE, 30, TimeUnit.SECONDS, SynchronousQueue(), daemon("gatepass-http"))

        val TIMER = ScheduledThreadPoolExecutor(1, daemon("gatepass-http-timer")).apply { removeOnCancelPolicy = true }

        val HttpRequest.hasBody get() = method != "GET" && method != "HEAD"

        fun headers(connection: HttpURLConnection): List<HttpHeader> {
            val found = ArrayList<HttpHeader>()
            var at = 0
            while (true) {
                val value = connection.getHeaderField(at) ?: return found
                // The status line has no name.
                connection.getHeaderFieldKey(at)?.let { found += HttpHeader(it, value) }
                at += 1
            }
        }

        /** Two lengths: where one message ends and the next begins is anybody's guess (RFC 9112 §6.3). */
        fun checkOneLength(headers: List<HttpHeader>) {
            val lengths = headers.filter { it.name.equals("Content-Length", ignoreCase = true) }
            if (lengths.flatMap { it.value.split(',') }.map { it.trim() }.distinct().size > 1) {
                throw ProtocolException("more than one Content-Length")
            }
        }

        fun read(stream: InputStream, limit: Long): ByteArray {
            val body = ByteArrayOutputStream()
            val buffer = ByteArray(16 * 1024)
            while (true) {
                val count = stream.read(buffer)
                if (count < 0) return body.toByteArray()
                if (body.size() + count > limit) {
                    throw HttpFailure(Delivery.UNKNOWN_OUTCOME, HttpFailureReason.BODY_TOO_LARGE)
                }
                body.write(buffer, 0, count)
            }
        }

        fun causes(e: Throwable): Sequence<Throwable> = generateSequence(e) { it.cause }.take(8)
    }
}

/** The platform's sockets, by a factory that nobody else has. Names the server in the handshake also where it has no dot. */
private class OwnSocketFactory(private val factory: SSLSocketFactory) : SSLSocketFactory() {
    override fun getDefaultCipherSuites(): Array<String> = factory.defaultCipherSuites

    override fun getSupportedCipherSuites(): Array<String> = factory.supportedCipherSuites

    // The one without arguments stays unsupported: so the platform connects, and hands over what is to be secured.

    override fun createSocket(socket: Socket, host: String, port: Int, autoClose: Boolean): Socket {
        val made = factory.createSocket(socket, host, port, autoClose)
        if (made is SSLSocket && '.' !in host && ':' !in host) {
            made.sslParameters = made.sslParameters.apply { serverNames = listOf(SNIHostName(host)) }
        }
        return made
    }

    override fun createSocket(host: String, port: Int): Socket = factory.createSocket(host, port)

    override fun createSocket(host: String, port: Int, localHost: InetAddress, localPort: Int): Socket =
        factory.createSocket(host, port, localHost, localPort)

    override fun createSocket(host: InetAddress, port: Int): Socket = factory.createSocket(host, port)

    override fun createSocket(address: InetAddress, port: Int, localAddress: InetAddress, localPort: Int): Socket =
        factory.createSocket(address, port, localAddress, localPort)
}
