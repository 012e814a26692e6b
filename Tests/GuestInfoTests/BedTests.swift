import Foundation
import GuestInfo
import GuestInfoHost
import Testing

/// The two programs that are held against each other in the process bed: Debian's unmodified vmware-rpctool, which no one
/// here wrote, keeps the model honest; the model then holds our client, with the real instructions, to the same.
enum Guest: String, CaseIterable, CustomTestStringConvertible {
    case rpctool, guestinfo
    var testDescription: String { rawValue }

    func get(_ key: String, _ values: [String: [UInt8]] = [:], _ flags: [String] = []) throws -> Bed {
        var bed: Bed
        switch self {
        case .rpctool:
            bed = try Bed.run(["vmware-rpctool", "info-get \(key)"], values: values, flags: flags)
            // It ends what it prints with a newline of its own.
            if bed.command.status == 0 && bed.command.output.last == 0x0A { bed.command.output.removeLast() }
        case .guestinfo:
            bed = try Bed.run([try Bed.built("guestinfo"), "get", key], values: values, flags: flags)
        }
        return bed
    }

    func set(_ key: String, _ value: [UInt8], _ flags: [String] = []) throws -> Bed {
        switch self {
        case .rpctool: try Bed.run(["vmware-rpctool", "info-set \(key) \(String(decoding: value, as: UTF8.self))"], flags: flags)
        case .guestinfo: try Bed.run([try Bed.built("guestinfo"), "set", key, "-"], flags: flags, input: value)
        }
    }
}

@Suite struct BedTests {
    /// Printable, for it goes through a command line.
    private func text(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(0x21 + ($0 * 7) % 94) } }

    private func check(_ bed: Bed, highBandwidth: Bool) {
        #expect(bed.report.channelsLeftOpen == 0)
        #expect(bed.report.protocolErrors == 0)
        #expect(bed.report.wrongCookies == 0)
        #expect((bed.report.highBandwidthOutCalls > 0) == highBandwidth)
    }

    @Test(arguments: Guest.allCases, [true, false])
    func `Lengths 0 to 13 are read and set, all alignments`(_ guest: Guest, _ highBandwidth: Bool) throws {
        let flags = highBandwidth ? ["--garbage"] : ["--garbage", "--no-hb"]
        for length in 0...13 {
            let value = text(length)
            let read = try guest.get("guestinfo.v", ["guestinfo.v": value], flags)
            // rpctool prints an empty value, our tool calls it absent.
            #expect(read.command.status == (length == 0 && guest == .guestinfo ? 1 : 0), "\(read.command.errors)")
            #expect(read.command.output == value, "\(length)")
            check(read, highBandwidth: highBandwidth)
            let written = try guest.set("guestinfo.v", value, flags)
            #expect(written.command.status == 0, "\(written.command.errors)")
            #expect(written.store["guestinfo.v"] == Data(value), "\(length)")
            check(written, highBandwidth: highBandwidth)
        }
    }

    @Test(arguments: Guest.allCases)
    func `1 MiB by high bandwidth`(_ guest: Guest) throws {
        let bed = try guest.get("guestinfo.big", ["guestinfo.big": text(1 << 20)])
        #expect(bed.command.status == 0)
        #expect(bed.command.output == text(1 << 20))
        check(bed, highBandwidth: true)
    }

    @Test(arguments: Guest.allCases)
    func `1 MiB by low bandwidth`(_ guest: Guest) throws {
        let bed = try guest.get("guestinfo.big", ["guestinfo.big": text(1 << 20)], ["--no-hb", "--timeout", "300"])
        #expect(bed.command.status == 0)
        #expect(bed.command.output == text(1 << 20))
        check(bed, highBandwidth: false)
    }

    @Test(arguments: Guest.allCases, [true, false])
    func `60 000 bytes out`(_ guest: Guest, _ highBandwidth: Bool) throws {
        let bed = try guest.set("guestinfo.out", text(60_000), highBandwidth ? [] : ["--no-hb"])
        #expect(bed.command.status == 0)
        #expect(bed.store["guestinfo.out"] == Data(text(60_000)))
        check(bed, highBandwidth: highBandwidth)
    }

    @Test func `More than 60 000 bytes: our tool refuses, the host refuses rpctool`() throws {
        let ours = try Guest.guestinfo.set("guestinfo.out", text(60_001))
        #expect(ours.command.status == 1)
        #expect(ours.command.errors == "guestinfo: info-set guestinfo.out: value of 60001 bytes, the limit is 60000\n")
        #expect(ours.report.channelsOpened == 0)
        let theirs = try Guest.rpctool.set("guestinfo.out", text(66_000))
        #expect(theirs.command.status == 1)
        #expect(theirs.command.errors.contains("Unable to send the RPCI command"))
        #expect(theirs.store == [:])
    }

    @Test(arguments: Guest.allCases, [true, false])
    func `Missing, refused, read-only`(_ guest: Guest, _ highBandwidth: Bool) throws {
        let flags = highBandwidth ? [] : ["--no-hb"]
        let missing = try guest.get("guestinfo.none", [:], flags)
        #expect(missing.command.status == 1)
        #expect(missing.command.errors.lowercased().contains("no value"))
        let denied = try guest.get("guestinfo.v", ["guestinfo.v": [0x31]], flags + ["--deny"])
        #expect(denied.command.status == 1)
        #expect(denied.command.errors.lowercased().contains("permission denied"))
        let readOnly = try guest.set("guestinfo.a/b", text(3), flags)
        #expect(readOnly.command.status == 1)
        #expect(readOnly.command.errors.lowercased().contains("permission denied"))
        #expect(readOnly.store == [:])
        for bed in [missing, denied, readOnly] { check(bed, highBandwidth: highBandwidth) }
    }

    @Test(arguments: Guest.allCases, [true, false])
    func `A checkpoint at every step`(_ guest: Guest, _ highBandwidth: Bool) throws {
        let value = text(37)
        var steps = GuestInfoHost.Step.allCases.map { ($0, 0) }
        if !highBandwidth { steps += (1..<10).map { (.receivePayload, $0) } + (1..<5).map { (.sendPayload, $0) } }
        for (step, after) in steps {
            // open-vm-tools takes a checkpoint for a failure where a message is announced, and prints no value when CLOSE fails.
            let unhandled = guest == .rpctool && [.sendSize, .receiveSize, .close].contains(step)
            let flags = ["--fault", "checkpoint@\(step.rawValue):1+\(after)"] + (highBandwidth ? [] : ["--no-hb"])
            let bed = try guest.get("guestinfo.v", ["guestinfo.v": value], flags)
            #expect(bed.command.status == (unhandled ? 1 : 0), "\(step) \(after): \(bed.command.errors)")
            if !unhandled { #expect(bed.command.output == value, "\(step) \(after)") }
            let used: Bool
            switch step {
            case .sendPayload, .receivePayload: used = !highBandwidth
            case .highBandwidthOut, .highBandwidthIn: used = highBandwidth
            default: used = true
            }
            #expect(bed.report.faultsInjected == (used ? 1 : 0), "\(step) \(after)")
            #expect(bed.report.channelsLeftOpen == (guest == .rpctool && step == .close ? 1 : 0))
        }
    }

    @Test func `A checkpoint for ever: our client gives up, rpctool is stopped by the bed`() throws {
        let ours = try Guest.guestinfo.get("guestinfo.v", ["guestinfo.v": text(9)], ["--fault", "checkpoint@hb-in:always"])
        #expect(ours.command.status == 1)
        #expect(ours.command.errors.contains("asked 10 times"))
        #expect(ours.report.channelsLeftOpen == 0)
        let theirs = try Guest.rpctool.get(
            "guestinfo.v", ["guestinfo.v": text(9)], ["--fault", "checkpoint@hb-in:always", "--timeout", "2"])
        #expect(theirs.command.status == 124)
    }

    @Test func `Our tool sees the platform and the probe's outcome in the bed`() throws {
        let tool = try Bed.built("guestinfo")
        #expect(try Bed.run([tool, "platform"]).command.output == bytes("VMware, by its CPUID signature\n"))
        #expect(try Bed.run([tool, "probe"]).command.status == 0)
        let absent = try Bed.run([tool, "get", "guestinfo.x"], flags: ["--device", "absent"])
        #expect(absent.command.status == 3)
        #expect(absent.command.errors.contains("nothing answers"))
        #expect(try Bed.run([tool, "probe"], flags: ["--backdoor-version", "5"]).command.status == 3)
        #expect(try Bed.run([tool, "get", "guestinfo.x"], flags: ["--device", "vmport"]).command.errors.contains("opened no channel"))
    }

    @Test func `Children, their exits and signals go through the bed`() throws {
        let both = try Bed.run(["sh", "-c", "vmware-rpctool 'info-set guestinfo.a b' && vmware-rpctool 'info-get guestinfo.a'; exit 7"])
        #expect(both.command.status == 7)
        #expect(both.command.output == bytes("\nb\n"))
        #expect(try Bed.run(["sh", "-c", "kill -SEGV $$"]).command.status == 128 + 11)
        #expect(try Bed.run(["sh", "-c", "trap 'exit 9' ILL; kill -ILL $$; sleep 1"]).command.status == 9)
        #expect(try Bed.run(["sh", "-c", "kill -STOP $$; exit 3"], flags: ["--timeout", "1"]).command.status == 124)
    }

    @Test func `A bed that cannot run its program says so`() throws {
        let bed = try Bed.built("guestinfo-bed")
        #expect(try Command.run([bed, "--", "/no/such/program"]).status == 127)
        #expect(try Command.run([bed, "--", "/etc/passwd"]).status == 126)
        #expect(try Command.run([bed, "--fault", "nonsense", "--", "true"]).status == 64)
    }
}
