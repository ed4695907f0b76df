// Android's has native parts. It counts traffic, and nothing here asks it.

package dalvik.system

import java.net.Socket

@Suppress("unused")
class SocketTagger {
    fun tag(@Suppress("UNUSED_PARAMETER") socket: Socket) = Unit

    fun untag(@Suppress("UNUSED_PARAMETER") socket: Socket) = Unit

    companion object {
        private val nothing = SocketTagger()

        @JvmStatic
        fun get() = nothing
    }
}
