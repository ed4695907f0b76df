// Whether somebody is signed in, and what happens to sessions.

package io.gatepass

import io.gatepass.ffi.FfiSessionEvent
import io.gatepass.ffi.FfiSessionState

/** Whether somebody is signed in. The first value is always [Loading]: it is never guessed before storage has answered. */
public sealed class SessionState {
    /** Storage has not been asked yet. */
    public object Loading : SessionState()

    /** Nobody ever signed in, or the user signed out. */
    public object SignedOut : SessionState()

    /** Somebody is signed in. */
    public object SignedIn : SessionState()

    /** A key may only be used after the user proved to be present. */
    public object NeedsUserPresence : SessionState()

    /** Storage is locked, so nobody can tell yet. */
    public object StorageLocked : SessionState()

    /** The session ended without the user's doing. */
    public class Ended(
        /** Why. */
        public val reason: EndReason,
    ) : SessionState() {
        override fun equals(other: Any?): Boolean = other is Ended && other.reason == reason

        override fun hashCode(): Int = reason.hashCode()
    }

    override fun toString(): String = if (this is Ended) "Ended($reason)" else javaClass.simpleName
}

/** Something that happened to a session. Never holds a secret. */
public sealed class SessionEvent {
    /** Which session: its [Session.id]. `null` where it is about none. */
    public abstract val sessionId: String?

    /** A sign-in completed; the session is stored. */
    public class SignedIn internal constructor(override val sessionId: String?) : SessionEvent()

    /** The tokens were refreshed. */
    public class Refreshed internal constructor(
        override val sessionId: String?,
        /** Rises with every change of the session. */
        public val generation: Long,
    ) : SessionEvent()

    /** A refresh failed, and the session lives on: the tokens are kept. */
    public class RefreshFailed internal constructor(
        override val sessionId: String?,
        /** Why. */
        public val error: GatepassException,
    ) : SessionEvent()

    /** Refreshed tokens could not be stored. They are held in memory, and the write is tried again. */
    public class StorageWriteFailed internal constructor(
        override val sessionId: String?,
        /** Why. */
        public val error: GatepassException,
    ) : SessionEvent()

    /** The session ended. */
    public class Ended internal constructor(
        override val sessionId: String?,
        /** Why. */
        public val reason: EndReason,
    ) : SessionEvent()

    /** The user signed out here. */
    public class SignedOut internal constructor(override val sessionId: String?) : SessionEvent()

    /** A sign-in of an earlier run of the app cannot come to an end any more. Told once. */
    public class SignInInterrupted internal constructor(
        /** The diagnostic id that the sign-in had. */
        public val diagnosticId: String,
    ) : SessionEvent() {
        override val sessionId: String? get() = null
    }

    override fun toString(): String = "${javaClass.simpleName}($sessionId)"
}

internal fun FfiSessionState.toState(): SessionState = when (this) {
    FfiSessionState.Loading -> SessionState.Loading
    FfiSessionState.SignedOut -> SessionState.SignedOut
    FfiSessionState.SignedIn -> SessionState.SignedIn
    FfiSessionState.NeedsUserPresence -> SessionState.NeedsUserPresence
    FfiSessionState.StorageLocked -> SessionState.StorageLocked
    is FfiSessionState.Ended -> SessionState.Ended(named(reason, EndReason.EXPIRED_OR_REVOKED))
}

internal fun FfiSessionEvent.toEvent(sessionId: String?): SessionEvent = when (this) {
    FfiSessionEvent.SignedIn -> SessionEvent.SignedIn(sessionId)
    is FfiSessionEvent.Refreshed -> SessionEvent.Refreshed(sessionId, generation.toLong())
    is FfiSessionEvent.RefreshFailed -> SessionEvent.RefreshFailed(sessionId, details.toException())
    is FfiSessionEvent.StorageWriteFailed -> SessionEvent.StorageWriteFailed(sessionId, details.toException())
    is FfiSessionEvent.Ended -> SessionEvent.Ended(sessionId, named(reason, EndReason.EXPIRED_OR_REVOKED))
    FfiSessionEvent.SignedOut -> SessionEvent.SignedOut(sessionId)
    is FfiSessionEvent.SignInInterrupted -> SessionEvent.SignInInterrupted(diagnosticId)
}
