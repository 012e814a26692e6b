import Foundation
import SessionLog
import Testing

/// What happens to a line: clients that come in the middle of everything, damage, the kernel's own messages.
@Suite("Boot: the attach line", .serialized) struct LineBootTests {
    /// Numbers in one line: whoever has a part of them can tell which.
    private static func numbers(_ range: ClosedRange<Int>) -> String { range.map { "\($0) " }.joined() }

    /// Cases A41 and A42 of what VIC's VCH meets.
    @Test("the handshake behind noise, doubled and answered wrongly; another client's, in the middle of a session that writes")
    func handshakes() throws {
        let script = """
            read go; seq 1 60000 | tr '\\n' ' '; read go; seq 60001 120000 | tr '\\n' ' '
            read go; sleep 7; seq 120001 150000 | tr '\\n' ' '; exit 9
            """
        let tether: [String: Any] = ["stdin": "open", "sessions": ["ringKiB": 2048, "maxSessions": 4]]
        let vm = try AttachVM(["sh", "-c", script], tether: tether, attach: ["vic": true])
        try beginnings(vm)
        try secondVCH(vm)
        try secondClient(vm)
        // A client that has said nothing for long gets all that comes at the end.
        let last = try vm.ssh(input: Data("end\n".utf8))
        #expect(last.status == 9 && last.text == Self.numbers(120_001...150_000), "\(last.stdout.count) bytes; \(last.errorText)")
        let ended = try vm.finish()
        #expect(ended.code == 9 && ended.out == Self.numbers(1...150_000), "\(ended.finished.errorText)")
    }

    private func beginnings(_ vm: AttachVM) throws {
        let line = vm.line
        _ = line.take(0)
        // The measure of all others: an emulated guest that has nothing else to do.
        let idle = try #require(line.ask([0x16, 0x2a])).seconds
        func expectPrompt(_ what: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws -> UInt8 {
            let answer = try #require(line.ask(bytes), "\(what): no answer", sourceLocation: sourceLocation)
            #expect(answer.seconds < idle + 1, "\(what): \(answer.seconds) s, \(idle) s when idle", sourceLocation: sourceLocation)
            return answer.number
        }
        let garbage = Array("[    0.0] \u{16}\u{6}\u{15}SSH-1.99\r\n\u{16}".utf8)
        _ = try expectPrompt("behind garbage", garbage + [0x16, 0x40])
        // A SYN that is doubled is one.
        _ = try expectPrompt("doubled", [0x16, 0x10, 0x16, 0x20])
        #expect(line.take(1, seconds: 0.3).isEmpty)
        // In two pieces.
        line.inject([0x16])
        Thread.sleep(forTimeInterval: 0.05)
        var number = try expectPrompt("in two pieces", [0xff])
        // A wrong ACK gets a NAK, and then the client begins anew.
        let begun = Date()
        line.inject([0x06, number &+ 2])
        #expect(line.hear { $0 == [0x15] } != nil)
        number = try expectPrompt("behind a NAK", [0x16, 0x50])
        #expect(Date().timeIntervalSince(begun) < idle + 1)
        line.inject([0x06, number &+ 1])
        let banner = try #require(line.hear { $0.last == UInt8(ascii: "\n") })
        #expect(banner.first == 0x06 && String(decoding: banner.dropFirst(), as: UTF8.self).hasPrefix("SSH-2.0-"))
        // A VCH that dies here is followed by another.
        _ = try expectPrompt("behind a handshake", [0x16, 0x60])
    }

    /// A VCH is restarted while its container writes: what comes next is told from the first byte on that was not sent.
    private func secondVCH(_ vm: AttachVM) throws {
        let all = Self.numbers(1...60_000)
        let first = try VICClient(vm.line)
        let channel = try #require(first.open("box"))
        first.send(channel, "go\n")
        #expect(first.wait { first.output(channel).utf8.count > 20_000 })
        vm.line.drop()
        let before = first.output(channel)
        #expect(all.hasPrefix(before))
        let second = try VICClient(vm.line)
        #expect(vm.console.contains("another client began; the connection before it is dropped"))
        let other = try #require(second.open("box"))
        #expect(second.wait(seconds: 60) { second.output(other).hasSuffix("60000 ") }, "\(second.output(other).suffix(20))")
        let after = second.output(other)
        // Nothing is missing, or it is told: what SSH, the driver and the sockets of QEMU held when the line dropped comes again, as far as
        // the ring still has it.
        let missing = all.utf8.count - before.utf8.count - after.utf8.count
        #expect(all.hasSuffix(after) && abs(missing) < 400_000)
        #expect(missing <= 0 || vm.console.contains("box: \(missing) bytes of stdout are no longer kept"), "\(missing)")
        vm.line.drop()
    }

    /// The same with a client that says what it has: nothing is lost.
    private func secondClient(_ vm: AttachVM) throws {
        let start = Self.numbers(1...60_000).utf8.count
        let all = Self.numbers(60_001...120_000)
        func client(_ offset: Int) throws -> RunningClient {
            try vm.start(options: ["-o", "SetEnv=TETHER_STDOUT_FROM=\(offset) TETHER_STDERR_FROM=live"])
        }
        let first = try client(start)
        first.write("go\n")
        #expect(first.wait(for: " 65000 "), "\(first.errorText)")
        // The guest is in the middle of a packet, or of many, when the next client asks.
        vm.line.drop()
        let answer = try #require(vm.line.ask([0x16, 0x33]), "no answer in the middle of a session")
        // Not when the server would give a silent client up, after 5 s.
        let idle = try #require(vm.line.ask([0x16, 0x34]), "no answer without a session").seconds
        #expect(answer.seconds < idle + 4, "\(answer.seconds) s, \(idle) s when idle")
        #expect(first.finish() == 255)
        let second = try client(start + first.output.count)
        #expect(second.wait(for: " 120000 "), "\(second.errorText)")
        #expect(first.text + second.text == all, "\(first.output.count) and \(second.output.count) of \(all.utf8.count) bytes")
    }

    @Test("noise in mid-transfer in both directions, and the kernel's own messages on the line: the client comes again, no byte is lost")
    func noise() throws {
        // Each time that the kernel speaks it does so on the attach line.
        let script = """
            mknod /tmp/kmsg c 1 11; read go; i=0
            while [ $i -lt 16 ]; do
                i=$((i + 1)); head -c 36000 /dev/urandom | base64 | tr -d '\\n'
                if [ $((i % 4)) = 0 ]; then echo "<0>the kernel speaks" >/tmp/kmsg; fi
            done
            read go; exit 5
            """
        let tether: [String: Any] = [
            "stdin": "open", "rootfs": ["options": ["dev"]], "sessions": ["ringKiB": 4096, "maxSessions": 4],
        ]
        let vm = try AttachVM(["sh", "-c", script], tether: tether, kernelArguments: "console=ttyS0") { config, process in
            process["capabilities"] = ["CAP_MKNOD", "CAP_SYSLOG"].reduce(into: [String: [String]]()) { sets, name in
                for set in ["bounding", "effective", "permitted"] { sets[set, default: []].append(name) }
            }
            config["linux"] = [
                "resources": ["devices": [["allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"]]]
            ]
        }
        let client = try vm.start(tetherctl: "attach", options: ["--from", "oldest", "--reconnect", "120"])
        client.write("go\n")
        var random = SystemRandomNumberGenerator()
        for step in 0..<8 {
            let mark = (step + 1) * 60_000
            let end = Date(timeIntervalSinceNow: 60)
            while client.output.count < mark, Date() < end, client.process.isRunning { Thread.sleep(forTimeInterval: 0.01) }
            #expect(client.output.count >= mark, "step \(step): \(client.errorText)")
            let noise = (0..<(step % 2 == 0 ? 3 : 300)).map { _ in UInt8.random(in: 0...255, using: &random) }
            switch step % 4 {
            case 0: vm.line.disturb(towardsVM: false) { Array($0.prefix($0.count / 2)) + noise + $0.dropFirst($0.count / 2) }
            case 1: vm.line.disturb(towardsVM: true) { $0 + noise }
            case 2:
                vm.line.disturb(towardsVM: false) { $0.enumerated().map { index, byte in index == 0 ? ~byte : byte } }
                vm.line.inject(noise)
            default:
                vm.line.disturb(towardsVM: true) { Array($0.dropFirst(5)) }
                vm.line.disturb(towardsVM: false) { Array($0.dropLast(1)) }
            }
        }
        let size = 16 * 48_000
        let end = Date(timeIntervalSinceNow: 120)
        while client.output.count < size, Date() < end, client.process.isRunning { Thread.sleep(forTimeInterval: 0.05) }
        #expect(client.output.count == size, "\(client.errorText)")
        client.write("end\n")
        #expect(client.finish() == 5, "\(client.errorText)")
        #expect(!client.errorText.contains("are lost"), "\(client.errorText)")
        let breaks = client.errorText.components(separatedBy: "connecting again").count - 1
        #expect(breaks >= 8, "\(client.errorText)")
        let ended = try vm.finish()
        #expect(ended.code == 5 && ended.out == client.text, "\(ended.out.utf8.count) and \(client.output.count) bytes")
        #expect(ended.console.components(separatedBy: "the kernel speaks").count - 1 == 4)
    }

    @Test("how a process ended, core dumps and the want of memory among it, as asyncssh and OpenSSH see it; compression over the line")
    func ends() throws {
        let vm = try AttachVM(
            ["sh", "-c", "read go; exec awk 'BEGIN { s = \"0123456789abcdef\"; while (1) s = s s }'"], tether: ["stdin": "open"],
            attach: ["compression": true]
        ) { config, _ in config["linux"] = ["resources": ["memory": ["limit": 48 << 20]]] }
        let program = """
            import asyncio, asyncssh, sys
            proxy, key, known = sys.argv[1:4]
            async def main():
                async with asyncssh.connect("vm", username="container", client_keys=[key], known_hosts=known, config=None,
                                            agent_path=None, proxy_command=proxy) as connection:
                    for command in sys.argv[4:]:
                        process = await connection.create_process(None if command == "-" else command)
                        if command == "-":
                            process.stdin.write("go\\n")
                        result = await process.wait()
                        print(result.exit_status, result.exit_signal)
            asyncio.run(main())
            """
        let commands = [
            "cd /tmp; ulimit -c unlimited; kill -SEGV $$", "cd /tmp; ulimit -c 0; kill -SEGV $$", "kill -USR1 $$", "kill -STKFLT $$",
            "exit 11", "-",
        ]
        try vm.waitForContainer()
        let compressed = try vm.ssh(["yes 'a line of text that comes again and again' | head -c 400000"], options: ["-C", "-v"])
        #expect(compressed.stdout.count == 400_000, "\(compressed.errorText)")
        #expect(compressed.errorText.contains("compression: zlib@openssh.com"), "\(compressed.errorText)")
        #expect(vm.line.traffic().toClient < 40_000)
        let sent = try vm.ssh(["wc -c"], input: compressed.stdout, options: ["-C"])
        #expect(sent.text == "400000\n" && vm.line.traffic().toVM < 40_000, "\(sent.errorText)")

        // OpenSSH tells no more than that it was a signal.
        let killed = try vm.ssh(["kill -KILL $$"], options: ["-v"])
        #expect(killed.status == 255 && killed.errorText.contains("rtype exit-signal"), "\(killed.errorText)")
        let proxy = "\(try Build.path("tetherctl")) proxy tcp://127.0.0.1:\(vm.line.port)"
        let python = [try Build.path("interop/python/bin/python"), "-c", program, proxy, vm.identity, vm.knownHosts]
        let result = try run(python + commands, input: Data())
        #expect(
            result.text == """
                -1 ('SEGV', True, '', '')
                -1 ('SEGV', False, '', '')
                -1 ('USR1', False, '', '')
                -1 ('STKFLT@tether', False, '', '')
                11 None
                -1 ('KILL', False, 'out of memory', '')

                """, "\(result.text)\(result.errorText)")
        let ended = try vm.finish()
        #expect(ended.code == 137 && ended.exit?.oomKilled == true, "\(ended.finished.errorText)")
    }
}
