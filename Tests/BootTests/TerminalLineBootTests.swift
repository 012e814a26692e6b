import CLinux
import Foundation
import Linux
import SessionLog
import Testing

/// A line that is a terminal of this machine, as QEMU's `-serial pty` makes one.
@Suite("Boot: a terminal as the attach line", .serialized) struct TerminalLineBootTests {
    @Test("attach, exec and OpenSSH through proxy over QEMU's pty; a second user is refused; the terminal is set as it was")
    func terminal() throws {
        // The fourth of the ISA ports, with an interrupt of its own.
        let port = ["-chardev", "pty,id=line", "-device", "isa-serial,chardev=line,iobase=0x2e8,irq=5"]
        let script = "echo ready; read x; echo got $x; read x; exit 6"
        let vm = try AttachVM(
            ["sh", "-c", script], tether: ["stdin": "open"], attach: ["device": "/dev/ttyS3"], options: port.flatMap { ["--qemu-arg", $0] })
        let path = try #require(vm.kept("qemu.log").split(separator: " ").first { $0.hasPrefix("/dev/pts/") }.map(String.init))
        let held = try FileDescriptor.open(path, O_RDWR | O_NOCTTY | O_NONBLOCK)
        // QEMU has made it raw; somebody has changed that since.
        var before = try settings(held)
        before.c_iflag |= tcflag_t(ICRNL)
        tcsetattr(held.rawValue, TCSANOW, &before)

        try vm.waitForContainer()
        let command = ["--", "sh", "-c", "cat; echo err >&2; exit 4"]
        let exec = try run(try vm.tetherctl("exec", options: ["-i"], endpoint: path) + command, input: Data("in".utf8))
        #expect(exec.status == 4 && exec.text == "in" && exec.errorText == "err\n", "\(exec.text)\(exec.errorText)")
        #expect(same(try settings(held), before))

        let attached = try vm.start(tetherctl: "attach", options: ["--from", "oldest"], endpoint: path)
        #expect(attached.wait(for: "ready\n"), "\(attached.errorText)")
        #expect(try settings(held).c_iflag & tcflag_t(ICRNL) == 0)
        let second = try run(try vm.tetherctl("exec", endpoint: path) + ["--", "true"], input: Data())
        #expect(second.status == 125 && second.errorText.contains("\(path): another program does"), "\(second.status) \(second.errorText)")
        // The first has not noticed.
        attached.write("one\n")
        #expect(attached.wait(for: "got one\n"), "\(attached.errorText)")
        kill(attached.process.processIdentifier, SIGHUP)
        _ = attached.finish()
        #expect(same(try settings(held), before))

        let proxy = "ProxyCommand=\(try Build.path("tetherctl")) proxy \(path)"
        var ssh = ["ssh", "-F", "/dev/null", "-o", proxy, "-o", "UserKnownHostsFile=\(vm.knownHosts)", "-o", "HostKeyAlias=vm"]
        ssh += ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", vm.identity, "container@vm"]
        let shell = try run(ssh + ["head -c 100000 /dev/zero; exit 5"], input: Data())
        #expect(shell.status == 5 && shell.stdout == Data(count: 100_000), "\(shell.stdout.count) bytes; \(shell.errorText)")
        let last = try run(ssh, input: Data("end\n".utf8))
        #expect(last.status == 6, "\(last.errorText)")
        #expect(try vm.finish().code == 6)
    }

    private func settings(_ terminal: borrowing FileDescriptor) throws -> termios {
        var settings = termios()
        let number = terminal.rawValue
        try attempt("tcgetattr") { tcgetattr(number, &settings) }
        return settings
    }

    private func same(_ one: termios, _ other: termios) -> Bool {
        one.c_lflag == other.c_lflag && one.c_iflag == other.c_iflag && one.c_oflag == other.c_oflag && one.c_cflag == other.c_cflag
    }
}
