import ContainerSpec
import Foundation
import GuestInfoHost
import Linux
import Testing

@testable import tetherctl

@Suite struct ConfigDeliveryTests {
    private let json = Array("{ \"a\": \"it's | \\\"x\\\" \\\\\" ,\n\t\"b c\": [ 1, 2 ] }\n".utf8)

    /// Runs a program on `input` and returns its output.
    private func run(_ path: String, _ arguments: [String], _ input: [UInt8] = []) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let (stdin, stdout) = (Foundation.Pipe(), Foundation.Pipe())
        process.standardInput = stdin
        process.standardOutput = stdout
        try process.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data(input))
        try stdin.fileHandleForWriting.close()
        let output = try stdout.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return Array(output)
    }

    /// As `--config <(command)` gives it; the size of a pipe says nothing.
    @Test func readsAPipe() throws {
        let pipe = Foundation.Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data(json))
        try pipe.fileHandleForWriting.close()
        #expect(try ConfigDelivery.read("/dev/fd/\(pipe.fileHandleForReading.fileDescriptor)") == json)
        #expect(throws: SyscallError.self) { try ConfigDelivery.read("/nowhere.json") }
    }

    @Test func minifying() {
        #expect(ConfigDelivery.minified(json) == Array(#"{"a":"it's | \"x\" \\","b c":[1,2]}"#.utf8))
        #expect(ConfigDelivery.minified([0xEF, 0xBB, 0xBF] + Array("[ ]".utf8)) == Array("[]".utf8))
    }

    @Test func plainPairs() throws {
        let delivery = try ConfigDelivery(json, encoding: .plain)
        #expect(
            delivery.pairs == [#"guestinfo.tether.config={"a":"it's | \"x\" \\","b c":[1,2]}"#, "guestinfo.tether.config.encoding=plain"])
    }

    @Test func vmxLines() throws {
        #expect(
            try ConfigDelivery(json, encoding: .plain).vmxLines == [
                ##"guestinfo.tether.config = "{|22a|22:|22it's |7C \|22x\|22 \\|22,|22b c|22:[1,2]}""##,
                #"guestinfo.tether.config.encoding = "plain""#,
            ])
    }

    @Test func encodingsAreUndoneByOtherPrograms() throws {
        let minified = ConfigDelivery.minified(json)
        let base64 = try ConfigDelivery(json, encoding: .base64)
        #expect(try run("/usr/bin/base64", ["-d"], base64.value) == minified)
        let compressed = try ConfigDelivery(json, encoding: .gzipBase64)
        #expect(try run("/usr/bin/gzip", ["-dc"], run("/usr/bin/base64", ["-d"], compressed.value)) == minified)
        #expect(compressed.pairs.last == "guestinfo.tether.config.encoding=gzip+base64")
        #expect(try ValueEncoding.gzipBase64.encode(minified) == compressed.value)
        for count in 0...4 {
            let bytes = [UInt8](repeating: 0xFB, count: count)
            #expect(try ValueEncoding.base64.encode(bytes) == Array(Data(bytes).base64EncodedString().utf8))
        }
    }

    @Test func largeValuesAreCompressed() throws {
        let large = Array("[\"\(String(repeating: "x", count: 1 << 20))\"]".utf8)
        let delivery = try ConfigDelivery(large, encoding: nil)
        #expect(delivery.encoding == .gzipBase64 && delivery.value.count < 4096)
        #expect(try ConfigDelivery(json, encoding: nil).encoding == .base64)
    }

    @Test(arguments: ["plain", "", "two words", "it's", "$HOME `id` \"x\" \\ !", "a\nb", "ü|;&"])
    func shellsTakeTheCommandAsItIs(_ word: String) throws {
        let line = ConfigDelivery.shellLine(["printf", "%s\\0", word, "end"])
        #expect(try run("/bin/sh", ["-c", line]) == Array((word + "\0end\0").utf8))
    }

    @Test func govcCommand() throws {
        let delivery = try ConfigDelivery(json, encoding: .plain)
        #expect(
            delivery.govcCommand(vm: "my vm") == [
                "govc", "vm.change", "-vm", "my vm", "-e", #"guestinfo.tether.config={"a":"it's | \"x\" \\","b c":[1,2]}"#, "-e",
                "guestinfo.tether.config.encoding=plain",
            ])
        #expect(
            delivery.govcCommand(vm: nil, files: [ConfigDelivery.key: "/tmp/x"]) == [
                "govc", "vm.change", "-f", "guestinfo.tether.config=/tmp/x", "-e", "guestinfo.tether.config.encoding=plain",
            ])
    }
}
