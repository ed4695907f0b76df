// The public API of each module is what its dump says. A change of it is a change of the file in api/, for people to read:
// `cargo xtask test kotlin` with GATEPASS_API=write makes them anew.

package io.gatepass

import java.io.File
import kotlinx.validation.api.dump
import kotlinx.validation.api.filterOutNonPublic
import kotlinx.validation.api.loadApiFromJvmClasses
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

private val MODULES = listOf("gatepass-core", "gatepass-jvm", "gatepass-android", "gatepass-okhttp")

class ApiTest {
    private val project = File(System.getProperty("gatepass.kotlin"))

    @Test
    fun `the API is what its dump says`() {
        for (module in MODULES) {
            val classes = File(System.getProperty("gatepass.built"), "$module/classes")
            val files = classes.walk().filter { it.extension == "class" }.toList()
            assertTrue(files.isNotEmpty(), "$classes")
            val now = StringBuilder()
            files.asSequence().map { it.inputStream() }.loadApiFromJvmClasses().filterOutNonPublic().dump(now)
            val dump = File(project, "api/$module.api")
            if (System.getenv("GATEPASS_API") == "write") dump.writeText(now.toString())
            assertEquals(dump.readText(), now.toString(), "$module; GATEPASS_API=write takes the new one")
            // What is generated shows nowhere.
            assertTrue("io/gatepass/ffi" !in now.toString(), module)
        }
    }

    @Test
    fun `every public name says what it is`() {
        val silent = ArrayList<String>()
        for (module in MODULES) {
            for (file in File(project, "$module/src/main").walk().filter { it.extension == "kt" }) {
                var above = ""
                file.readLines().forEachIndexed { number, line ->
                    val text = line.trim()
                    if (text.startsWith("public ") && !above.endsWith("*/")) {
                        silent += "${file.name}:${number + 1}: $text"
                    }
                    // An annotation stands between the two.
                    if (text.isNotEmpty() && !text.startsWith("@")) above = text
                }
            }
        }
        assertEquals(emptyList<String>(), silent)
    }

    @Test
    fun `the values of enums say what they are`() {
        val bare = Regex("""^ +[A-Z_]+,$""")
        for (file in File(project, "gatepass-core/src/main").walk().filter { it.extension == "kt" }) {
            val lines = file.readLines()
            for ((number, line) in lines.withIndex()) {
                if (bare.matches(line)) {
                    assertTrue(lines[number - 1].trim().endsWith("*/"), "${file.name}:${number + 1}: $line")
                }
            }
        }
    }
}
