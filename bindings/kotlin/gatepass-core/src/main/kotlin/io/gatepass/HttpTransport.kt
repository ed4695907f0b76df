// HTTP by something other than the native library: the port, and what crosses it.

package io.gatepass

import io.gatepass.ffi.FfiDelivery
import io.gatepass.ffi.FfiHeader
import io.gatepass.ffi.FfiHttpFailure
import io.gatepass.ffi.FfiHttpFailureReason
import io.gatepass.ffi.FfiHttpRequest
import io.gatepass.ffi.FfiHttpResponse
import io.gatepass.ffi.FfiHttpTransport
import kotlin.coroutines.cancellation.CancellationException

/**
 * Sends one request and reads the whole answer. `gatepass-okhttp` has one over OkHttp.
 *
 * - Sends a request **at most once**: no retry of any kind, by any layer below. A code or a refresh token that is sent
 *   twice can end the session at the server.
 * - Throws [HttpFailure] with [Delivery.NOT_SENT] only where no byte of the body can have left (without a body, none at
 *   all). All else is [Delivery.UNKNOWN_OUTCOME], and so is an exception of any other type.
 * - Follows no redirect, keeps no cookies, caches nothing. A status other than 2xx is an answer.
 * - Keeps duplicate headers. Cuts the body at [HttpRequest.maxResponseBytes] while it streams. Keeps to
 *   [HttpRequest.timeoutMillis] from the call to the last byte. Honours [HttpRequest.maxConnectionIdleMillis].
 * - May be cancelled; the core never cancels a request that carries a code or a refresh token.
 */
public interface HttpTransport {
    /** Sends one request and reads the whole answer. */
    public suspend fun send(request: HttpRequest): HttpResponse
}

/** A request, to be sent exactly as it is. */
public class HttpRequest internal constructor(
    /** The method, in capitals. */
    public val method: String,
    /** Where to. Its query may hold a secret. */
    public val url: String,
    /** The headers, in order. */
    public val headers: List<HttpHeader>,
    /** The body, empty where there is none. */
    public val body: ByteArray,
    /** How long the whole exchange may take. */
    public val timeoutMillis: Long,
    /** The longest answer to accept, after any decoding. */
    public val maxResponseBytes: Long,
    /** The longest time that a pooled connection may have been idle before it carries this request; `null`: any. */
    public val maxConnectionIdleMillis: Long?,
) {
    override fun toString(): String = "HttpRequest($method, ${headers.size} headers, ${body.size} bytes)"
}

/** One header line. Its value may be a secret, and does not print. */
public class HttpHeader(
    /** Its name, in any case. */
    public val name: String,
    /** Its value. */
    public val value: String,
) {
    override fun toString(): String = "HttpHeader($name, redacted)"
}

/** An answer, whatever its status. */
public class HttpResponse(
    /** The status. */
    public val status: Int,
    /** The headers, duplicates kept. */
    public val headers: List<HttpHeader>,
    /** The body. */
    public val body: ByteArray,
) {
    override fun toString(): String = "HttpResponse($status, ${headers.size} headers, ${body.size} bytes)"
}

/** Why no complete answer was read. It holds no text: what a platform says may quote the request. */
public class HttpFailure(
    /** Whether the request can have reached the server. */
    public val delivery: Delivery,
    /** What failed. */
    public val reason: HttpFailureReason,
) : Exception("$delivery, $reason")

/** What failed in an exchange. */
public enum class HttpFailureReason {
    /** The name of the server did not resolve. */
    NAME_NOT_RESOLVED,

    /** No connection could be made. */
    CONNECT,

    /** The proxy could not be reached, or opened no connection to the server. */
    PROXY,

    /** The server's certificate is not trusted, not valid now, or for another host. */
    TLS_CERTIFICATE,

    /** The TLS handshake failed for another reason. */
    TLS,

    /** The deadline passed. */
    TIMEOUT,

    /** The connection broke. */
    CONNECTION_LOST,

    /** The answer was longer than allowed. */
    BODY_TOO_LARGE,

    /** What came is not HTTP. */
    INVALID_ANSWER,

    /** The transport refused to send the request as given. */
    INVALID_REQUEST,

    /** Anything else. */
    OTHER,
}

/** The core's port, by way of the app's. */
internal class ForeignTransport(private val transport: HttpTransport) : FfiHttpTransport {
    override suspend fun send(request: FfiHttpRequest): FfiHttpResponse = try {
        transport.send(request.toRequest()).toFfi()
    } catch (e: CancellationException) {
        throw e
    } catch (e: HttpFailure) {
        throw FfiHttpFailure.Failed(
            if (e.delivery == Delivery.NOT_SENT) FfiDelivery.NOT_SENT else FfiDelivery.UNKNOWN_OUTCOME,
            FfiHttpFailureReason.valueOf(e.reason.name),
        )
    } catch (e: Throwable) {
        // An Error too: else the coroutine dies of it, and nobody tells the core.
        throw FfiHttpFailure.Unexpected()
    }
}

private fun FfiHttpRequest.toRequest() = HttpRequest(
    method,
    url,
    headers.map { HttpHeader(it.name, it.value) },
    body,
    timeoutMillis.toLong(),
    maxResponseBytes.coerceAtMost(Long.MAX_VALUE.toULong()).toLong(),
    maxConnectionIdleMillis?.toLong(),
)

private fun HttpResponse.toFfi() =
    FfiHttpResponse(status.toUShort(), headers.map { FfiHeader(it.name, it.value) }, body)
