import Foundation
import SSH
@testable import SSHBed
import Testing

/// OpenSSH's client against our server.
@Suite(.serialized) struct OpenSSHClientTests {
    private static let ciphers: [(cipher: String, macs: [String])] = [
        ("chacha20-poly1305@openssh.com", [""]), ("aes256-gcm@openssh.com", [""]), ("aes128-gcm@openssh.com", [""]),
        ("aes256-ctr", ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"]),
        ("aes128-ctr", ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256"]),
    ]

    /// With keys that are replaced as soon as the user is logged in, and again on the way.
    @Test(arguments: AlgorithmPreferences.supportedKeyExchange, AlgorithmPreferences.supportedHostKey)
    func everyCombinationOfAlgorithms(keyExchange: String, hostKey: String) throws {
        let bed = try InteropBed()
        for (cipher, macs) in Self.ciphers {
            for mac in macs {
                let compresses = mac == "hmac-sha2-256" || cipher == "aes128-gcm@openssh.com"
                let choice = (mac.isEmpty ? "-c \(cipher)" : "-c \(cipher) -m \(mac)") + (compresses ? " -C" : "")
                let options = "-o KexAlgorithms=\(keyExchange) -o HostKeyAlgorithms=\(hostKey) \(choice)"
                try bed.write("", to: "log")
                let command = try bed.ssh("\(options) -o LogLevel=DEBUG1", bed: "--compression --rekey 300")
                let outcome = try bed.sh("\(command) 'cat; echo err >&2' <<<hello")
                let errors = outcome.errors.split { $0.isNewline }
                let exchanges = errors.count { $0.contains("SSH2_MSG_NEWKEYS received") }
                #expect(outcome.status == 0 && outcome.text == "hello\n" && errors.contains("err"), "\(options): \(outcome.errors)")
                #expect(exchanges > 1, "\(options): \(outcome.errors)")
                let compression = compresses ? "zlib@openssh.com zlib@openssh.com" : "none none"
                #expect(try bed.read("log").contains("algorithms \(keyExchange) \(hostKey) \(cipher) \(mac) \(compression)\n"))
            }
        }
    }

    @Test(arguments: InteropBed.userKeys) func aUsersKey(type: String) throws {
        let bed = try InteropBed()
        let fingerprint = try bed.sh("ssh-keygen -l -f user_\(type).pub | cut -d' ' -f2").text
        let known = try bed.sh("\(try bed.ssh(key: "user_\(type)")) true")
        #expect(known.status == 0, "\(known.errors)")
        #expect(try bed.read("log").contains("authenticated someone publickey \(fingerprint)"))
        try bed.write("", to: "log")
        let unknown = try bed.sh("\(try bed.ssh(key: "other_\(type)")) echo in")
        #expect(unknown.status == 255 && unknown.output.isEmpty)
        #expect(unknown.errors.contains("Permission denied (publickey)"), "\(unknown.errors)")
        #expect(try !bed.read("log").contains("authenticated"))
    }

    @Test func aServerWithAnotherKey() throws {
        let bed = try InteropBed()
        try bed.sh("echo \"bed $(cut -d' ' -f1,2 other_ed25519.pub)\" >known")
        let outcome = try bed.sh("\(try bed.ssh("-o HostKeyAlgorithms=ssh-ed25519")) echo in")
        #expect(outcome.status == 255 && outcome.output.isEmpty)
        #expect(outcome.errors.contains("Host key verification failed"), "\(outcome.errors)")
    }

    @Test func tooManyKeys() throws {
        let bed = try InteropBed()
        let keys = try (0..<8).map { number in
            try bed.sh("ssh-keygen -q -t ed25519 -N '' -f many_\(number)")
            return "-i many_\(number)"
        }
        let command = try bed.ssh("\(keys.joined(separator: " ")) -o LogLevel=INFO", key: "other_ed25519")
        let outcome = try bed.sh("\(command) echo in")
        #expect(outcome.status == 255 && outcome.errors.contains("6 attempts have failed"), "\(outcome.errors)")
        #expect(try bed.read("log").contains("ended authenticate someone: 6 attempts have failed"))
    }

    @Test func noneAndAnOpenUser() throws {
        let bed = try InteropBed()
        let anyone = try bed.sh("\(try bed.ssh(bed: "--none", key: "other_rsa")) echo in")
        #expect(anyone.text == "in\n", "\(anyone.errors)")
        #expect(try bed.read("log").contains("authenticated someone none -"))
        let daemon = try bed.sh("\(try bed.ssh(bed: "--open-user daemon", user: "daemon", key: "other_rsa")) echo in")
        #expect(daemon.text == "in\n", "\(daemon.errors)")
        let other = try bed.sh("\(try bed.ssh(bed: "--open-user daemon", user: "root", key: "other_rsa")) echo in")
        #expect(other.status == 255 && other.output.isEmpty, "\(other.text)")
    }

    @Test func aBanner() throws {
        let bed = try InteropBed()
        let outcome = try bed.sh("\(try bed.ssh("-o LogLevel=INFO", bed: "--banner Welcome-to-the-bed")) true")
        #expect(outcome.errors.contains("Welcome-to-the-bed"), "\(outcome.errors)")
    }

    @Test func statusAndSignal() throws {
        let bed = try InteropBed()
        for status in [0, 3, 255] {
            #expect(try bed.sh("\(try bed.ssh()) 'exit \(status)'").status == Int32(status))
        }
        let command = try bed.ssh("-o LogLevel=DEBUG1")
        let killed = try bed.sh("\(command) 'echo before; kill -SEGV $$'")
        #expect(killed.text == "before\n")
        #expect(killed.status == 255 && killed.errors.contains("rtype exit-signal reply 0"), "\(killed.errors)")
    }

    @Test func endOfInputAndHalfClose() throws {
        let bed = try InteropBed()
        let outcome = try bed.sh("\(try bed.ssh()) 'cat >/dev/null; sleep 0.2; echo after the end' </dev/null")
        #expect(outcome.text == "after the end\n", "\(outcome.errors)")
        // The command ends without having read what the client sends.
        let unread = try bed.sh("head -c 30000000 /dev/zero | \(try bed.ssh()) 'head -c 3; exit 4' | wc -c; echo ${PIPESTATUS[1]}")
        #expect(unread.text == "3\n4\n", "\(unread.errors)")
        // And one whose input nobody ends.
        let idle = try bed.sh("\(try bed.ssh()) 'echo done' < <(exec sleep 100); echo $? $((SECONDS < 90))")
        #expect(idle.text == "done\n0 1\n", "\(idle.errors)")
    }

    @Test func aTerminalAndItsSize() throws {
        let bed = try InteropBed()
        let command = try bed.ssh("-tt")
        let remote = "trap 'echo size $(stty size); exit 5' WINCH; echo term $TERM size $(stty size); while sleep 0.05; do :; done"
        try bed.write("\(command) \"$(cat remote)\"; echo status $?", to: "command")
        try bed.write(remote, to: "remote")
        let environment = ["PATH=/usr/bin:/bin", "TERM=vt220", "HOME=\(bed.directory)"]
        let process = try BedProcess(
            command: "cd \(bed.directory) && exec bash command", environment: environment,
            terminal: (WindowSize(columns: 99, rows: 33), TerminalModes()))
        let first = read(process, until: "33 99\r\n")
        #expect(first.contains("term vt220 size 33 99"), "\(first)")
        process.resize(WindowSize(columns: 40, rows: 12))
        let second = read(process, until: "status 5\r\n")
        #expect(second.contains("size 12 40") && second.contains("status 5"), "\(second)")
        let log = try bed.read("log")
        #expect(log.contains("request pty-req true") && log.contains("request window-change true"))
    }

    /// A terminal that has another interrupt character than usual: the client's modes come along.
    @Test func terminalModesAndInput() throws {
        let bed = try InteropBed()
        let command = try bed.ssh("-tt")
        try bed.write("stty intr '^X'; \(command) 'stty -a | grep -o \"intr = [^;]*\"; cat; echo ended'", to: "command")
        let process = try BedProcess(
            command: "cd \(bed.directory) && exec bash command", environment: ["PATH=/usr/bin:/bin", "TERM=vt220"],
            terminal: (WindowSize(columns: 80, rows: 24), TerminalModes()))
        let modes = read(process, until: "intr = ^X\r\n")
        #expect(modes.contains("intr = ^X"), "\(modes)")
        _ = write(process.terminal, "hello\n", 6)
        let echo = read(process, until: "hello\r\nhello\r\n")
        #expect(echo.contains("hello\r\nhello\r\n"), "\(echo)")
        _ = write(process.terminal, "\u{4}", 1)
        let end = read(process, until: "ended\r\n")
        #expect(end.contains("ended"), "\(end)")
    }

    /// Reads a terminal until a text has come, at most 60 s.
    private func read(_ process: BedProcess, until text: String) -> String {
        var bytes: [UInt8] = []
        let end = Date(timeIntervalSinceNow: 60)
        while Date() < end {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = Foundation.read(process.terminal, &buffer, buffer.count)
            if count > 0 { bytes += buffer[..<count] } else { usleep(10_000) }
            if String(decoding: bytes, as: UTF8.self).contains(text) { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// 64 MiB there and back at the same time, with keys that both sides replace on the way.
    @Test(arguments: ["-c chacha20-poly1305@openssh.com", "-c aes128-gcm@openssh.com", "-c aes256-ctr -m hmac-sha2-256", "-C"])
    func muchDataBothWays(options: String) throws {
        let bed = try InteropBed()
        try bed.sh("head -c 67108864 /dev/urandom >data")
        let command = try bed.ssh("\(options) -o RekeyLimit=5M", bed: "--rekey 3000000 --compression")
        let outcome = try bed.sh("\(command) cat <data | sha256sum; sha256sum <data", seconds: 240)
        let digests = outcome.text.split(separator: "\n")
        #expect(digests.count == 2 && digests.first == digests.last, "\(outcome.text) \(outcome.errors)")
        let compression = options == "-C" ? "zlib@openssh.com zlib@openssh.com" : "none none"
        #expect(try bed.read("log").contains("\(compression)\n"))
    }

    @Test func compressionSaves() throws {
        let bed = try InteropBed()
        let outcome = try bed.sh(
            "\(try bed.ssh("-C -o LogLevel=DEBUG1", bed: "--compression")) 'head -c 10000000 /dev/zero' | wc -c")
        #expect(outcome.text == "10000000\n")
        let received = outcome.errors.split(separator: "\n").first { $0.contains("Transferred:") }?.split(separator: " ") ?? []
        let bytes = received.firstIndex(of: "received").flatMap { Int(received[$0 + 1].filter(\.isNumber)) } ?? .max
        #expect(bytes < 200_000, "\(outcome.errors)")
    }

    @Test func keepalives() throws {
        let bed = try InteropBed()
        // A machine that has much to do may leave a server without the processor for seconds: that is no silence.
        let options = "-o ServerAliveInterval=1 -o ServerAliveCountMax=5"
        let idle = try bed.sh("\(try bed.ssh(options)) 'sleep 4; echo alive'")
        #expect(idle.text == "alive\n", "\(idle.errors)")
        #expect(try bed.read("log").contains("global keepalive@openssh.com"))
        // Whoever reads the output stands still for a while, longer than the client would wait for the server.
        let stalled = try bed.sh("\(try bed.ssh(options)) 'head -c 20000000 /dev/zero' | (sleep 8; wc -c)")
        #expect(stalled.text == "20000000\n", "\(stalled.errors)")
        // A server that does not answer any more is given up.
        let command = "\(try bed.ssh("\(options) -o LogLevel=INFO")) 'echo $PPID >pid; kill -STOP $PPID; sleep 20'"
        let stopped = try bed.sh("\(command); status=$?; kill -KILL $(cat pid); exit $status")
        #expect(stopped.status == 255 && stopped.errors.contains("not responding"), "\(stopped.errors)")
    }

    @Test func restrictedKeys() throws {
        let bed = try InteropBed()
        let key = try bed.read("user_ed25519.pub")
        func run(_ options: String, _ ssh: String, _ command: String) throws -> Outcome {
            try bed.write("\(options) \(key)", to: "authorized")
            return try bed.sh("\(try bed.ssh(ssh)) \(command)")
        }
        let forced = try run("command=\"echo forced: $SSH_ORIGINAL_COMMAND\"", "", "'rm -rf /nowhere'")
        #expect(forced.text == "forced: rm -rf /nowhere\n", "\(forced.errors)")
        let terminal = try run("restrict", "-tt -o LogLevel=INFO", "tty")
        #expect(!terminal.text.contains("/dev/pts") && terminal.errors.contains("PTY allocation request failed"), "\(terminal.errors)")
        let allowed = try run("restrict,pty", "-tt", "tty")
        #expect(allowed.text.hasPrefix("/dev/pts/"), "\(allowed.errors)")
        let unsupported = try run("from=\"10.0.0.0/8\"", "", "echo in")
        #expect(unsupported.status == 255 && unsupported.errors.contains("the option from is not supported"), "\(unsupported.errors)")
    }

    @Test func whatIsNotServedIsRefused() throws {
        let bed = try InteropBed()
        let forwarding = try bed.sh("\(try bed.ssh("-W localhost:1 -o LogLevel=INFO")) </dev/null")
        #expect(forwarding.status == 255 && forwarding.errors.contains("unknown channel type"), "\(forwarding.errors)")
        let subsystem = try bed.sh("\(try bed.ssh("-s -o LogLevel=INFO")) sftp")
        #expect(subsystem.status == 255 && subsystem.errors.contains("subsystem request failed"), "\(subsystem.errors)")
        let remote = try bed.sh("\(try bed.ssh("-R 1:localhost:1 -o ExitOnForwardFailure=yes -o LogLevel=INFO")) echo in")
        #expect(remote.status == 255 && remote.errors.contains("remote port forwarding failed"), "\(remote.errors)")
    }

    /// Many sessions over one connection, all at once.
    @Test func sessionsShareAConnection() throws {
        let bed = try InteropBed()
        let master = try bed.ssh("-M -S \(bed.path("control")) -o ControlPersist=no")
        let script = """
            \(master) -N & master=$!
            for i in $(seq 100); do [ -S control ] && break; sleep 0.05; done
            head -c 3000000 /dev/urandom >data
            for i in $(seq 20); do ssh -F none -S control someone@bed 'cat; exit '$i <data >out$i & pids="$pids $!"; done
            i=0; for pid in $pids; do i=$((i + 1)); wait $pid; [ $? = $i ] && cmp data out$i && echo same; done
            kill $master; wait $master
            """
        let outcome = try bed.sh(script)
        #expect(outcome.text.split(separator: "\n").count { $0 == "same" } == 20, "\(outcome.text) \(outcome.errors)")
        #expect(try bed.read("log").split(separator: "\n").count { $0.contains("authenticated") } == 1)
    }
}
