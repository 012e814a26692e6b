import Control
import ControlClient
import Foundation
import Testing

/// The first VM of a host, which finds out whether KVM works.
@Suite("Boot: a KVM that does not work") struct AcceleratorBootTests {
    @Test("a VM that is started again without KVM: who waits for its line gets that of the second one, and the next VM knows")
    func fallback() throws {
        let scratch = try Scratch()
        try scratch.write("nothing.iso", Data(count: 1 << 20))
        // Where KVM is asked for: a machine whose kernel never comes up.
        let qemu = """
            #!/bin/bash
            accelerator=tcg; words=()
            case "$*" in *,accel=kvm*) accelerator=kvm ;; esac
            for word; do
                case "$accelerator $word" in
                "kvm host,"*) word=max${word#host} ;;
                "kvm "*/tether.iso) word=${word%file=*}file=\(scratch.file("nothing.iso")) ;;
                esac
                words+=("${word/accel=kvm/accel=tcg}")
            done
            echo $accelerator >>\(scratch.file("starts"))
            exec qemu-system-x86_64 "${words[@]}"
            """
        try scratch.write("qemu", Data(qemu.utf8), mode: 0o755)
        func starts() throws -> [String] {
            defer { try? FileManager.default.removeItem(atPath: scratch.file("starts")) }
            return try String(contentsOfFile: scratch.file("starts"), encoding: .utf8).split(separator: "\n").map(String.init)
        }
        func boot() throws -> VM {
            let environment = ["XDG_CACHE_HOME=\(scratch.path)"]
            let vm = try LiveVM(["sleep", "900"], options: ["--qemu", scratch.file("qemu")], environment: environment)
            #expect(try vm.client.list().map(\.state) == [.running])
            let ended = try vm.stop()
            #expect(ended.code == 143, "\(ended.finished.errorText)")
            return ended
        }
        let first = try boot()
        // Where there is no /dev/kvm at all, nothing is tried.
        let verdict = try? String(contentsOfFile: scratch.file("tether/kvm"), encoding: .utf8)
        #expect(try starts() == (verdict == nil ? ["tcg"] : ["kvm", "tcg"]))
        #expect(first.finished.errorText.contains("KVM does not work on this host") == (verdict != nil), "\(first.finished.errorText)")
        let second = try boot()
        #expect(try starts() == ["tcg"] && !second.finished.errorText.contains("KVM"), "\(second.finished.errorText)")
    }
}
