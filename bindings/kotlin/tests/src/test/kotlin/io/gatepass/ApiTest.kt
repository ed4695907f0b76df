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

class ApiTest {
    private val project = File(System.getProperty("gatepass.kotlin"))

    @Test
    fun `the API is what its dump says`() {
        for (module in listOf("gatepass-core", "gatepass-jvm", "gatepass-okhttp")) {
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
}
