import CLinux
import CTestSupport
import Testing

@testable import Linux

@Suite("Worker", .serialized) struct WorkerTests {
    /// The read end of a pipe with one byte in it, and nothing to come.
    private func readableDescriptor() throws -> FileDescriptor {
        let (read, write) = try Pipe().take()
        var byte: UInt8 = 1
        #expect(CLinux.write(write, &byte, 1) == 1)
        // The write end stays open until the tests end: at end-of-file the descriptor would be readable for ever.
        return FileDescriptor(owning: read)
    }

    @Test func aWorkerHasNoCopiesOfOtherDescriptors() throws {
        let readable = try readableDescriptor()
        let number = readable.rawValue
        let worker = try Worker.start("list") { output in
            var open: [UInt8] = []
            for descriptor in Int32(0)..<200 where clinux_fcntl_int(descriptor, F_GETFD, 0) >= 0 { open.append(UInt8(descriptor)) }
            output.send(open)
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        let open = try #require(result.messages.first)
        #expect(!open.contains(UInt8(number)))
        // Its pipe is the only one above the standard descriptors.
        #expect(open.filter { $0 > 2 }.count == 1)
    }

    @Test func aFilteredProcessMayMoveBytesAndNothingElse() throws {
        func filtered(_ body: @escaping () -> Void) throws -> WorkerResult {
            try Worker.start("filter") { output in
                // The filter is for programs with one thread, whose memory never asks for mprotect(2).
                ctestsupport_reserve_memory()
                guard clinux_set_no_new_privileges() == 0, clinux_allow_only_io() == 0 else { return }
                // Memory, time, and what is open already.
                let bytes = [UInt8](repeating: 1, count: 4 << 20)
                _ = Clock.monotonic()
                output.send([bytes[4_000_000], 2])
                body()
                output.send([3])
            }.wait(until: .after(milliseconds: 10_000))
        }
        let allowed = try filtered {
            var count: Int32 = 0
            _ = clinux_serial_unsent(0, &count)
            _ = clinux_serial_transmitter_empty(0, &count)
            var errors = clinux_serial_errors()
            _ = clinux_serial_count_errors(0, &errors)
        }
        #expect(allowed.ending == .finished && allowed.messages == [[1, 2], [3]])
        let forbidden: [() -> Void] = [
            { _ = clinux_open("/etc/passwd", O_RDONLY, 0) }, { _ = socket(AF_UNIX, clinux_stream_socket, 0) },
            { _ = kill(getppid(), 0) }, { _ = mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) },
            { _ = mprotect(nil, 4096, PROT_READ) },
            // Asks a terminal for its settings.
            { _ = isatty(0) },
        ]
        for body in forbidden {
            let result = try filtered(body)
            #expect(result.ending == .died(signal: SIGSYS) && result.messages == [[1, 2]])
        }
    }

    private static let score = "/proc/self/oom_score_adj"
    /// Makes this process one that is seldom killed for memory, as PID 1 is. Lowering takes CAP_SYS_RESOURCE in the VM's own user
    /// namespace.
    private static func protect() -> String? {
        guard let before = try? Files.readText(score), (try? Files.write("-500", to: score)) != nil else { return nil }
        return before
    }
    private static func unprotect(_ before: String?) { if let before { try? Files.write(before, to: score) } }
    private static let canProtect: Bool = {
        let before = protect()
        unprotect(before)
        return before != nil
    }()

    @Test(.enabled(if: WorkerTests.canProtect, "needs CAP_SYS_RESOURCE"))
    func aWorkerDoesNotInheritTheProtectionFromBeingKilledForMemory() throws {
        let before = WorkerTests.protect()
        defer { WorkerTests.unprotect(before) }
        let worker = try Worker.start("score") { output in output.send((try? Files.read(WorkerTests.score, limit: 64)) ?? []) }
        #expect(worker.wait(until: .after(milliseconds: 10_000)).messages == [Array("0\n".utf8)])
    }

    @Test func aHelperIsKilledForMemoryBeforeOthers() throws {
        let before = WorkerTests.protect()
        defer { WorkerTests.unprotect(before) }
        let (read, write) = try Pipe().take()
        let output = FileDescriptor(owning: read)
        let script = "/tmp/tether-helper-\(getpid())"
        try Files.replace(script, with: Array("cat /proc/self/oom_score_adj >&3".utf8))
        defer { unlink(script) }
        let pid: pid_t
        do {
            let given = FileDescriptor(owning: write)
            pid = clinux_start_helper("/bin/sh", script, given.rawValue, -1, 2)
        }
        try #require(pid > 0)
        var text: [UInt8] = []
        while let bytes = try output.read(atMost: 4096), !bytes.isEmpty { text += bytes }
        #expect(String(decoding: text, as: UTF8.self) == "500\n")
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid && status == 0)
    }

    @Test func aHelperHasItsDescriptorsWhateverNumbersTheyHadBefore() throws {
        let script = "/tmp/tether-helper-descriptors-\(getpid())"
        try Files.replace(
            script,
            with: Array(
                "cat <&4 >&3; echo problem >&2; i=5; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && [ $i != 10 ] && echo $i >&3; i=$((i+1)); done; :"
                    .utf8))
        defer { unlink(script) }
        let (input, settings) = try Pipe().take()
        let (output, socket) = try Pipe().take()
        let (problems, errors) = try Pipe().take()
        let ours = FileDescriptor(owning: output)
        let theirs = FileDescriptor(owning: socket)
        let problemsEnd = FileDescriptor(owning: problems)
        let errorsEnd = FileDescriptor(owning: errors)
        let inputEnd = FileDescriptor(owning: input)
        do {
            let writer = FileDescriptor(owning: settings)
            #expect(write(writer.rawValue, "settings\n", 9) == 9)
        }
        // The settings come as 3 or 4 where these were free, the others as anything.
        let pid = clinux_start_helper("/bin/sh", script, theirs.rawValue, inputEnd.rawValue, errorsEnd.rawValue)
        try #require(pid > 0)
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid && status == 0)
        let text = String(decoding: try ours.read(atMost: 4096) ?? [], as: UTF8.self)
        // 10 is the shell's own, for the script.
        #expect(text == "settings\n", "\(text)")
        #expect(try problemsEnd.read(atMost: 100) == Array("problem\n".utf8))
    }

    @Test func itsMessagesArriveInOrder() throws {
        let big = [UInt8](repeating: 0xFF, count: 40_000)
        let worker = try Worker.start("count") { output in
            output.send([1])
            output.send([])
            output.send(big)
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        #expect(result.ending == .finished)
        #expect(result.messages == [[1], [], big])
    }

    @Test func itsMessagesCanBeTakenAsTheyCome() throws {
        var worker = try Worker.start("test") { output in
            output.send([1, 2])
            output.send([])
            _ = poll(nil, 0, 300)
            output.send([3])
        }
        var messages: [[UInt8]] = []
        let deadline = Deadline.after(milliseconds: 10_000)
        var early = 0
        while !deadline.hasPassed {
            messages += worker.takeMessages()
            if messages.count == 2 { early += 1 }
            if let result = worker.step() {
                #expect(result.ending == .finished && early > 0)
                #expect(messages + result.messages == [[1, 2], [], [3]])
                return
            }
            _ = poll(nil, 0, 10)
        }
        Issue.record("it has not ended")
    }

    @Test func aWorkerThatHangsIsKilledAtTheDeadlineAndReaped() throws {
        let start = Clock.monotonic()
        let worker = try Worker.start("hang") { output in
            output.send([7])
            while true { pause() }
        }
        let pid = worker.processID
        let result = worker.wait(until: .after(milliseconds: 100))
        #expect(result.ending == .timedOut(reaped: true))
        #expect(result.messages == [[7]])
        #expect(kill(pid, 0) == -1 && clinux_errno() == ESRCH)
        #expect(Clock.monotonic() - start < 60_000_000_000)
    }

    @Test func aWorkerThatDiesIsTold() throws {
        let worker = try Worker.start("die") { output in
            output.send([1, 2])
            _ = kill(getpid(), SIGKILL)
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        #expect(result.ending == .died(signal: SIGKILL))
        #expect(result.messages == [[1, 2]])
    }

    @Test func aWorkerThatExitsBeforeItsEndHasNotFinished() throws {
        let worker = try Worker.start("exit") { _ in _exit(0) }
        #expect(worker.wait(until: .after(milliseconds: 10_000)).ending == .died(signal: 0))
    }

    @Test func aWorkerThatSaysTooMuchIsStopped() throws {
        let worker = try Worker.start("flood", limit: 100_000) { output in
            while true { output.send([UInt8](repeating: 1, count: 1000)) }
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        #expect(result.ending == .died(signal: SIGKILL))
        #expect(result.messages.count <= 100)
    }

    @Test func anInterruptEndsTheWait() throws {
        let readable = try readableDescriptor()
        let worker = try Worker.start("hang") { _ in while true { pause() } }
        let result = worker.wait(until: .after(milliseconds: 10_000), interrupt: Interrupt(descriptor: readable.rawValue))
        #expect(result.ending == .interrupted(reaped: true))
    }

    @Test func anInterruptThatIsNotMeantIsAskedAndTheWaitGoesOn() throws {
        let readable = try readableDescriptor()
        let descriptor = readable.rawValue
        var asked = 0
        let worker = try Worker.start("work") { output in
            usleep(50_000)
            output.send([9])
        }
        let result = worker.wait(
            until: .after(milliseconds: 10_000),
            interrupt: Interrupt(descriptor: descriptor) {
                asked += 1
                var byte: UInt8 = 0
                _ = read(descriptor, &byte, 1)
                return false
            })
        #expect(result.ending == .finished)
        #expect(result.messages == [[9]])
        #expect(asked == 1)
    }

    @Test func anEventLoopCanStepIt() throws {
        var worker = try Worker.start("step") { output in output.send([3]) }
        var result: WorkerResult?
        let deadline = Deadline.after(milliseconds: 10_000)
        while result == nil && !deadline.hasPassed {
            var watched = pollfd(fd: worker.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&watched, 1, deadline.pollTimeout)
            result = worker.step()
        }
        #expect(result?.ending == .finished)
        #expect(result?.messages == [[3]])
    }

    @Test func itsSignalsAreDefaultAndUnblocked() throws {
        let worker = try Worker.start("signals") { output in
            var blocked = sigset_t()
            _ = sigprocmask(SIG_BLOCK, nil, &blocked)
            output.send([sigismember(&blocked, SIGTERM) == 0 ? 1 : 0])
            _ = kill(getpid(), SIGTERM)
        }
        let result = worker.wait(until: .after(milliseconds: 10_000))
        #expect(result.messages == [[1]])
        #expect(result.ending == .died(signal: SIGTERM))
    }
}

@Suite("Fields") struct FieldCodingTests {
    @Test func everyKindComesBack() {
        var encoder = FieldEncoder()
        encoder.append("text \u{0} ü")
        encoder.append(Int64.min)
        encoder.append(true)
        encoder.append(nil as String?)
        encoder.append("" as String?)
        var decoder = FieldDecoder(encoder.bytes)
        #expect(decoder.text() == "text \u{0} ü")
        #expect(decoder.number() == Int64.min)
        #expect(decoder.flag() == true)
        #expect(decoder.optionalText() == .some(nil))
        #expect(decoder.optionalText() == .some(""))
        #expect(decoder.isAtEnd)
    }

    @Test func inputThatEndsEarlyIsRefusedAtEveryLength() {
        var encoder = FieldEncoder()
        encoder.append("abc")
        for count in 0..<encoder.bytes.count {
            var decoder = FieldDecoder(Array(encoder.bytes.prefix(count)))
            #expect(decoder.text() == nil)
        }
        var huge = FieldDecoder([0xFF, 0xFF, 0xFF, 0xFF, 1])
        #expect(huge.field() == nil)
    }
}
