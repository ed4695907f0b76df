// What the Android module uses of Android: there at the oldest level, or in a class that says since when; and public.

package io.gatepass.android

import java.io.File
import java.util.zip.ZipFile
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.objectweb.asm.ClassReader
import org.objectweb.asm.tree.AnnotationNode
import org.objectweb.asm.tree.ClassNode
import org.objectweb.asm.tree.FieldInsnNode
import org.objectweb.asm.tree.InvokeDynamicInsnNode
import org.objectweb.asm.tree.MethodInsnNode
import org.objectweb.asm.tree.TypeInsnNode

class AndroidApiTest {
    private val project = File(System.getProperty("gatepass.kotlin"))
    private val built = File(System.getProperty("gatepass.built"))

    /** A member, or a class where [name] is empty. */
    private data class Use(val owner: String, val name: String, val descriptor: String) : Comparable<Use> {
        override fun toString() = if (name.isEmpty()) owner else "$owner.$name$descriptor"

        override fun compareTo(other: Use) = toString().compareTo(other.toString())
    }

    /** The framework of one level, read as files. */
    private class Framework(jar: File) : AutoCloseable {
        private val zip = ZipFile(jar)
        private val known = HashMap<String, ClassNode?>()

        fun find(name: String): ClassNode? = known.getOrPut(name) {
            zip.getEntry("$name.class")?.let { entry ->
                ClassNode().also { node ->
                    zip.getInputStream(entry).use { ClassReader(it.readBytes()).accept(node, ClassReader.SKIP_CODE) }
                }
            }
        }

        /** The annotations of a member, `null` if there is none. */
        fun annotations(use: Use): List<String>? {
            val owner = find(use.owner) ?: return null
            if (use.name.isEmpty()) return names(owner.invisibleAnnotations) + names(owner.visibleAnnotations)
            val lines = ArrayDeque(listOf(owner))
            while (lines.isNotEmpty()) {
                val at = lines.removeFirst()
                at.methods.firstOrNull { it.name == use.name && it.desc == use.descriptor && it.access and 5 != 0 }
                    ?.let { return names(it.invisibleAnnotations) + names(it.visibleAnnotations) }
                at.fields.firstOrNull { it.name == use.name && it.desc == use.descriptor && it.access and 5 != 0 }
                    ?.let { return names(it.invisibleAnnotations) + names(it.visibleAnnotations) }
                (listOfNotNull(at.superName) + at.interfaces).mapNotNull(::find).forEach(lines::add)
            }
            return null
        }

        private fun names(annotations: List<AnnotationNode>?) = annotations.orEmpty().map { it.desc }

        override fun close() = zip.close()
    }

    private fun isAndroid(owner: String) = owner.startsWith("android/") || owner.startsWith("com/android/")

    /** Everything of Android in each of our classes. */
    private fun uses(): Map<String, Set<Use>> {
        val classes = File(built, "gatepass-android/classes").walk().filter { it.extension == "class" }.toList()
        assertTrue(classes.size > 20, "$classes")
        return classes.associate { file ->
            val node = ClassNode().also { ClassReader(file.readBytes()).accept(it, 0) }
            val found = sortedSetOf<Use>()
            fun member(owner: String, name: String, descriptor: String) {
                if (isAndroid(owner)) found += Use(owner, name, descriptor)
            }
            (node.interfaces + node.superName).filterNotNull().forEach { member(it, "", "") }
            // What is overridden or called through one of ours counts as Android's where ours has no such method.
            for (method in node.methods) {
                for (instruction in method.instructions) {
                    when (instruction) {
                        is MethodInsnNode -> member(instruction.owner, instruction.name, instruction.desc)
                        is FieldInsnNode -> member(instruction.owner, instruction.name, instruction.desc)
                        is TypeInsnNode -> member(instruction.desc.trimStart('['), "", "")
                        is InvokeDynamicInsnNode -> instruction.bsmArgs.filterIsInstance<org.objectweb.asm.Handle>()
                            .forEach { member(it.owner, it.name, it.desc) }
                    }
                    if (instruction is MethodInsnNode && instruction.owner == node.name && isAndroid(node.superName)) {
                        val own = node.methods.any { it.name == instruction.name && it.desc == instruction.desc }
                        if (!own) member(node.superName, instruction.name, instruction.desc)
                    }
                }
            }
            node.name.substringAfterLast('/') to found
        }
    }

    private fun framework(level: String) = Framework(File(built, "gatepass-tests/android/$level.jar"))

    @Test
    fun `whatever is used is there at the oldest level, or its class says since when`() {
        framework("oldest").use { oldest ->
            framework("newest").use { newest ->
                val missing = ArrayList<String>()
                val guarded = HashSet<String>()
                for ((name, uses) in uses()) {
                    for (use in uses) {
                        if (newest.annotations(use) == null) missing += "$name: $use is not there at all"
                        if (oldest.annotations(use) != null) continue
                        val since = Regex("Since(\\d+)").find(name)
                        if (since == null) missing += "$name: $use is not there at level ${Level.OLDEST}" else guarded += name
                    }
                }
                assertEquals(emptyList<String>(), missing)
                // The guards by their names: a new one stands here with its level.
                assertEquals(setOf("DomainVerificationSince31", "KeystoreFailureSince33"), guarded)
            }
        }
    }

    /** Each guarded class is named behind the question for its level, and nowhere else. */
    @Test
    fun `newer levels are asked for before their classes are named`() {
        val levels = mapOf(31 to Level.DOMAIN_VERIFICATION, 33 to Level.KEYSTORE_SAYS_WHY)
        val sources = File(project, "gatepass-android/src/main").walk().filter { it.extension == "kt" }.toList()
        val guarded = sources.filter { "Since" in it.name }
        assertEquals(2, guarded.size)
        for (file in guarded) {
            val name = file.nameWithoutExtension
            val level = name.substringAfter("Since").toInt()
            assertEquals(level, levels[level])
            val lines = sources.filter { it != file }.flatMap { it.readLines() }.filter { "$name." in it }
            assertTrue(lines.isNotEmpty() && lines.all { "Level.has(Level." in it && "-> $name." in it }, "$lines")
        }
    }

    /**
     * android-all holds what apps may not use as well, and only some of that is marked in it. The list has been compared with
     * the public documentation by people; what is new on it must be as well.
     */
    @Test
    fun `what is used is public`() {
        val all = uses().values.flatten().toSortedSet()
        framework("newest").use { newest ->
            for (use in all) {
                val marks = newest.annotations(use).orEmpty()
                assertTrue(marks.none { "SystemApi" in it || "TestApi" in it || "Hide" in it || "UnsupportedAppUsage" in it }, "$use: $marks")
            }
        }
        val list = File(project, "api/android.used")
        val now = all.joinToString("\n", postfix = "\n")
        if (System.getenv("GATEPASS_API") == "write") list.writeText(now)
        assertEquals(list.readText(), now, "GATEPASS_API=write takes the new one; see that all of it is public")
        assertTrue("androidx/" !in now)
    }
}
