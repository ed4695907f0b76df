// Android's own HttpURLConnection, on the JVM: its classes are plain Java, and android-all has them.

package io.gatepass.android

import dalvik.system.SocketTagger
import java.io.File
import java.net.HttpURLConnection
import java.net.URL
import java.net.URLStreamHandler
import java.util.zip.ZipFile
import javax.net.ssl.HostnameVerifier
import javax.net.ssl.HttpsURLConnection
import org.objectweb.asm.ClassReader
import org.objectweb.asm.ClassVisitor
import org.objectweb.asm.ClassWriter
import org.objectweb.asm.MethodVisitor
import org.objectweb.asm.Opcodes

/** The HTTP of one level of Android. */
internal class AndroidHttp(jar: File) : AutoCloseable {
    private val zip = ZipFile(jar)
    private val classes = object : ClassLoader(getPlatformClassLoader()) {
        override fun findClass(name: String): Class<*> {
            if (name == SocketTagger::class.java.name) return SocketTagger::class.java
            val entry = zip.getEntry(name.replace('.', '/') + ".class") ?: throw ClassNotFoundException(name)
            val bytes = adapted(zip.getInputStream(entry).use { it.readBytes() })
            return defineClass(name, bytes, 0, bytes.size)
        }
    }

    private val handlers = mapOf("http" to handler("HttpHandler"), "https" to handler("HttpsHandler"))

    // What Android has for its default one; the JDK's says no to everything.
    private val verifier = classes.loadClass("com.android.okhttp.internal.tls.OkHostnameVerifier")
        .getField("INSTANCE").get(null) as HostnameVerifier

    fun open(url: URL): HttpURLConnection {
        val connection = URL(null, url.toString(), handlers.getValue(url.protocol)).openConnection() as HttpURLConnection
        check(connection.javaClass.name.startsWith("com.android.okhttp.")) { connection.javaClass }
        if (connection is HttpsURLConnection) connection.hostnameVerifier = verifier
        return connection
    }

    private fun handler(name: String) =
        classes.loadClass("com.android.okhttp.$name").getDeclaredConstructor().newInstance() as URLStreamHandler

    /** Android's `System` has an `arraycopy` for each kind of array; and its newest classes are for a newer JVM. */
    private fun adapted(bytes: ByteArray): ByteArray {
        val writer = ClassWriter(0)
        ClassReader(bytes).accept(
            object : ClassVisitor(Opcodes.ASM9, writer) {
                override fun visit(version: Int, access: Int, name: String?, signature: String?, superName: String?, interfaces: Array<String>?) =
                    super.visit(minOf(version, Opcodes.V17), access, name, signature, superName, interfaces)

                override fun visitMethod(access: Int, name: String?, descriptor: String?, signature: String?, exceptions: Array<String>?) =
                    object : MethodVisitor(Opcodes.ASM9, super.visitMethod(access, name, descriptor, signature, exceptions)) {
                        override fun visitMethodInsn(opcode: Int, owner: String, name: String, descriptor: String, isInterface: Boolean) {
                            val copies = owner == "java/lang/System" && name == "arraycopy"
                            val plain = if (copies) "(Ljava/lang/Object;ILjava/lang/Object;II)V" else descriptor
                            super.visitMethodInsn(opcode, owner, name, plain, isInterface)
                        }
                    }
            },
            0,
        )
        return writer.toByteArray()
    }

    override fun close() = zip.close()
}
