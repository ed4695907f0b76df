// What goes wrong: one sealed type, which says what happened, where, and what to do next.

package io.gatepass

import io.gatepass.ffi.FfiErrorDetails
import io.gatepass.ffi.FfiException

/**
 * What every call of Gatepass throws.
 *
 * The subclasses say what happened; [nextStep] says what an app should do, which for most apps is all they need. No field
 * holds a token, a code, a verifier or a key, so it can go into a log or a crash report as it is.
 *
 * ```
 * try {
 *     gatepass.signIn()
 * } catch (e: GatepassException.Cancelled) {
 *     // Not this time.
 * } catch (e: GatepassException) {
 *     show(e.message, canRetry = e.isRetryable)
 * }
 * ```
 */
public sealed class GatepassException private constructor(details: Details) : Exception(details.message) {
    /** A text for people. Never empty. */
    override val message: String = details.message

    /** What happened, precisely: `snake_case`, stable, the same in every language. `docs/errors.md` lists them all. */
    public val code: String = details.code

    /** Where in the journey, `snake_case`, such as `callback` or `refresh`. */
    public val stage: String = details.stage

    /** The clause of the standard that decided, such as `RFC 6749 §10.12`. */
    public val clause: String? = details.clause

    /** Whether the same call, unchanged, can succeed without the user. */
    public val isRetryable: Boolean = details.isRetryable

    /** What to do about it. */
    public val nextStep: NextStep = details.nextStep

    /** With [NextStep.RETRY_AFTER]: how long to wait, in seconds. */
    public val retryAfterSeconds: Long? = details.retryAfterSeconds

    /** What the server said, where it said anything. */
    public val server: ServerError? = details.server

    /** Finds the attempt in the logs. */
    public val diagnosticId: String? = details.diagnosticId

    /** The user, or the app on the user's behalf, called the sign-in off. */
    public class Cancelled internal constructor(details: Details) : GatepassException(details)

    /** The sign-in was cut short from outside, and can be begun anew. */
    public class Interrupted internal constructor(details: Details) : GatepassException(details)

    /** A newer sign-in took this one's place. */
    public class Superseded internal constructor(details: Details) : GatepassException(details)

    /** The sign-in was not finished within its time. */
    public class FlowExpired internal constructor(details: Details) : GatepassException(details)

    /** The redirect was delivered before; its first delivery decided the sign-in. */
    public class AlreadyHandled internal constructor(details: Details) : GatepassException(details)

    /** No browser could be opened. */
    public class NoBrowser internal constructor(details: Details) : GatepassException(details)

    /** The redirect cannot be, or was not, delivered to this program. */
    public class RedirectNotCaptured internal constructor(details: Details) : GatepassException(details)

    /** The platform does not accept the association between the app and its redirect host. */
    public class AssociationMissing internal constructor(details: Details) : GatepassException(details)

    /** The authorization server or the API answered with an error of its own; see [server]. */
    public class Server internal constructor(details: Details) : GatepassException(details)

    /** Something received breaks a standard; [clause] names it. */
    public class Protocol internal constructor(details: Details) : GatepassException(details)

    /** A protection that is required cannot be had, and none is ever dropped silently. */
    public class ProtectionUnavailable internal constructor(details: Details) : GatepassException(details)

    /** The network failed. */
    public class Network internal constructor(
        details: Details,
        /** Whether the request can have reached the server. */
        public val delivery: Delivery,
    ) : GatepassException(details)

    /** The server, or Gatepass's own guard, asks to wait: [retryAfterSeconds]. */
    public class RateLimited internal constructor(details: Details) : GatepassException(details)

    /** Secure storage is locked or does not answer. Nothing is known to be lost. */
    public class StorageLocked internal constructor(details: Details) : GatepassException(details)

    /** Secure storage lost what it held. */
    public class StorageLost internal constructor(details: Details) : GatepassException(details)

    /** Secure storage refused to write. */
    public class StorageWriteFailed internal constructor(details: Details) : GatepassException(details)

    /** A key may only be used after the user proved to be present. */
    public class NeedsUserPresence internal constructor(details: Details) : GatepassException(details)

    /** The session is over; only a new sign-in helps. */
    public class SessionEnded internal constructor(
        details: Details,
        /** Why. */
        public val reason: EndReason,
    ) : GatepassException(details)

    /** The device clock is too far off to check the times in a token. */
    public class Clock internal constructor(details: Details) : GatepassException(details)

    /** The configuration, or an argument, is wrong. Found before anything is sent. */
    public class Configuration internal constructor(details: Details) : GatepassException(details)

    /** A defect in Gatepass, or in something that was given to it. */
    public class Internal internal constructor(details: Details) : GatepassException(details)

    /** What is told of every kind. */
    internal class Details(
        val message: String,
        val code: String,
        val stage: String,
        val clause: String?,
        val isRetryable: Boolean,
        val nextStep: NextStep,
        val retryAfterSeconds: Long?,
        val server: ServerError?,
        val diagnosticId: String?,
    )
}

/** What an app should do about a [GatepassException]. */
public enum class NextStep {
    /** Call again; nothing was lost. */
    RETRY,

    /** Call again, but not before [GatepassException.retryAfterSeconds] have passed. */
    RETRY_AFTER,

    /** Ask the user to sign in again. */
    SIGN_IN_AGAIN,

    /** Mend the configuration; a retry cannot help. */
    FIX_CONFIGURATION,

    /** Ask the user to do something: unlock the device, install a browser. */
    ASK_USER,

    /** Ask whoever runs the server; quote the [GatepassException.diagnosticId]. */
    CONTACT_SERVER,

    /** Nothing is to be done. */
    NONE,
}

/** Whether a failed request can have reached the server. */
public enum class Delivery {
    /** Certainly not: no byte of it left. */
    NOT_SENT,

    /** Perhaps: the outcome at the server is unknown. Whatever is not certain counts as this. */
    UNKNOWN_OUTCOME,
}

/** Why a session ended. There is no other way for one to end. */
public enum class EndReason {
    /** The server refused the refresh token: it expired or was revoked there. */
    EXPIRED_OR_REVOKED,

    /** The server had rotated the refresh token, and the answer that carried the new one never arrived. */
    ROTATION_LOST,

    /** The key that the tokens are bound to is gone. */
    KEY_LOST,

    /** Secure storage lost the session. */
    STORAGE_LOST,

    /** The session was restored on another device. */
    DEVICE_CHANGED,

    /** The server answered for another user than the one who signed in. */
    SUBJECT_CHANGED,

    /** The user signed out. */
    SIGNED_OUT,
}

/** What a server said about a failure: untrusted text, bounded and without control characters, to be shown as plain text. */
public class ServerError internal constructor(
    /** The `error` code. */
    public val error: String?,
    /** The `error_description`. */
    public val description: String?,
    /** The `error_uri`, only if it is an https URL. */
    public val uri: String?,
    /** The HTTP status, where there was an HTTP answer. */
    public val status: Int?,
) {
    override fun toString(): String = "ServerError(error=$error, description=$description, status=$status)"
}

/** Runs a call of the core, and throws what it throws as a [GatepassException]. */
internal inline fun <T> calling(call: () -> T): T = try {
    call()
} catch (e: FfiException.Failed) {
    throw e.details.toException()
}

internal fun FfiErrorDetails.toException(): GatepassException {
    val details = GatepassException.Details(
        message = message,
        code = code,
        stage = stage,
        clause = clause,
        isRetryable = isRetryable,
        nextStep = named(nextStep, NextStep.CONTACT_SERVER),
        retryAfterSeconds = retryAfterSeconds?.toLong(),
        server = server?.let { ServerError(it.error, it.description, it.uri, it.status?.toInt()) },
        diagnosticId = diagnosticId,
    )
    return when (kind) {
        "cancelled" -> GatepassException.Cancelled(details)
        "interrupted" -> GatepassException.Interrupted(details)
        "superseded" -> GatepassException.Superseded(details)
        "flow_expired" -> GatepassException.FlowExpired(details)
        "already_handled" -> GatepassException.AlreadyHandled(details)
        "no_browser" -> GatepassException.NoBrowser(details)
        "redirect_not_captured" -> GatepassException.RedirectNotCaptured(details)
        "association_missing" -> GatepassException.AssociationMissing(details)
        "server" -> GatepassException.Server(details)
        "protocol" -> GatepassException.Protocol(details)
        "protection_unavailable" -> GatepassException.ProtectionUnavailable(details)
        "network" -> GatepassException.Network(details, named(delivery, Delivery.UNKNOWN_OUTCOME))
        "rate_limited" -> GatepassException.RateLimited(details)
        "storage_locked" -> GatepassException.StorageLocked(details)
        "storage_lost" -> GatepassException.StorageLost(details)
        "storage_write_failed" -> GatepassException.StorageWriteFailed(details)
        "needs_user_presence" -> GatepassException.NeedsUserPresence(details)
        "session_ended" -> GatepassException.SessionEnded(details, named(endReason, EndReason.EXPIRED_OR_REVOKED))
        "clock" -> GatepassException.Clock(details)
        "configuration" -> GatepassException.Configuration(details)
        else -> GatepassException.Internal(details)
    }
}

/** The value with the core's name for it: `snake_case`. */
internal inline fun <reified T : Enum<T>> named(name: String?, otherwise: T): T =
    enumValues<T>().firstOrNull { it.name.equals(name, ignoreCase = true) } ?: otherwise
