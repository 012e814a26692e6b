import CLinux
import ContainerSpec
import Testing

@testable import Cgroups

/// The generated programs, run by an interpreter of the few instructions they consist of.
@Suite struct DeviceProgramTests {
    enum Fault: Error { case unknownInstruction(UInt64), outside(Int), tooLong }

    /// What the kernel does with the program, by the meaning of each operation in its documentation ("BPF Instruction Set").
    private func run(_ program: [UInt64], kind: UInt32, rights: UInt32, major: UInt32, minor: UInt32) throws -> UInt64 {
        let context: [UInt32] = [rights << 16 | kind, major, minor]
        var registers = [UInt64](repeating: 0xDEAD_BEEF_DEAD_BEEF, count: 11)
        var position = 0
        for _ in 0...program.count {
            guard program.indices.contains(position) else { throw Fault.outside(position) }
            let code = program[position]
            let destination = Int(code >> 8 & 15)
            let source = Int(code >> 12 & 15)
            let offset = Int(Int16(truncatingIfNeeded: code >> 16))
            let immediate = UInt32(code >> 32)
            let value = UInt32(truncatingIfNeeded: registers[destination])
            position += 1
            switch code & 0xFF {
            case 0x61: registers[destination] = UInt64(context[offset / 4])
            case 0xBC: registers[destination] = registers[source] & 0xFFFF_FFFF
            case 0xB4: registers[destination] = UInt64(immediate)
            case 0x54: registers[destination] = UInt64(value & immediate)
            case 0x74: registers[destination] = UInt64(value >> immediate)
            case 0x56: if value != immediate { position += offset }
            case 0x46: if value & immediate != 0 { position += offset }
            case 0x05: position += offset
            case 0x95: return registers[0]
            default: throw Fault.unknownInstruction(code)
            }
        }
        throw Fault.tooLong
    }

    private func rule(_ allow: Bool, _ kind: DeviceRule.Kind, _ major: UInt32?, _ minor: UInt32?, _ rights: String = "rwm") -> DeviceRule {
        var rule = DeviceRule(allow: allow)
        rule.kind = kind
        rule.major = major
        rule.minor = minor
        rule.read = rights.contains("r")
        rule.write = rights.contains("w")
        rule.make = rights.contains("m")
        return rule
    }

    private static let mknod = DeviceProgram.mknodRight
    private static let read = DeviceProgram.readRight
    private static let write = DeviceProgram.writeRight
    private static let block = DeviceProgram.blockKind
    private static let character = DeviceProgram.characterKind

    /// The rule for one request, said the plain way: each right is decided by the last rule that names it.
    private func expected(_ rules: [DeviceRule], kind: UInt32, rights: UInt32, major: UInt32, minor: UInt32) -> Bool {
        for right in [Self.mknod, Self.read, Self.write] where rights & right != 0 {
            let decisive = rules.last { rule in
                let named = right == Self.mknod ? rule.make : right == Self.read ? rule.read : rule.write
                let kinds = rule.kind == .all || (rule.kind == .block) == (kind == Self.block)
                return named && kinds && (rule.major ?? major) == major && (rule.minor ?? minor) == minor
            }
            if decisive?.allow != true { return false }
        }
        return true
    }

    @Test func whatEveryContainerMayDo() throws {
        let program = try DeviceProgram([]).instructions
        func allowed(_ kind: UInt32, _ rights: UInt32, _ major: UInt32, _ minor: UInt32) throws -> Bool {
            try run(program, kind: kind, rights: rights, major: major, minor: minor) == 1
        }
        #expect(try allowed(Self.character, Self.read | Self.write, 1, 3))
        #expect(try allowed(Self.character, Self.read | Self.write, 5, 2))
        #expect(try allowed(Self.character, Self.read | Self.write | Self.mknod, 136, 77))
        #expect(try allowed(Self.block, Self.mknod, 8, 0))
        // A disk, a serial port, the VM's memory; /dev/null's numbers as a block device.
        #expect(try !allowed(Self.block, Self.read, 8, 0))
        #expect(try !allowed(Self.block, Self.write | Self.mknod, 8, 0))
        #expect(try !allowed(Self.character, Self.write, 4, 66))
        #expect(try !allowed(Self.character, Self.read, 1, 1))
        #expect(try !allowed(Self.block, Self.read, 1, 3))
    }

    @Test func rightsFromSeveralRulesAddUp() throws {
        let program = DeviceProgram.compile([rule(true, .block, 8, 0, "r"), rule(true, .block, 8, nil, "w")])
        #expect(try run(program, kind: Self.block, rights: Self.read | Self.write, major: 8, minor: 0) == 1)
        #expect(try run(program, kind: Self.block, rights: Self.read | Self.write, major: 8, minor: 1) == 0)
        #expect(try run(program, kind: Self.block, rights: Self.read | Self.write | Self.mknod, major: 8, minor: 0) == 0)
    }

    @Test func numbersAboveTheSignedRange() throws {
        let program = DeviceProgram.compile([rule(true, .all, .max, 0x8000_0000)])
        #expect(try run(program, kind: Self.block, rights: Self.read, major: .max, minor: 0x8000_0000) == 1)
        #expect(try run(program, kind: Self.block, rights: Self.read, major: .max, minor: 0x8000_0001) == 0)
    }

    @Test func whatDecidesAllEndsTheProgram() {
        // The verifier refuses code that nothing can reach.
        let all = DeviceProgram.compile([rule(true, .block, 1, 1), rule(false, .all, nil, nil)])
        #expect(all == DeviceProgram.compile([rule(false, .all, nil, nil)]))
    }

    @Test func anyRulesAnyRequest() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            let rules = (0..<Int.random(in: 0...8, using: &random)).map { _ in
                rule(
                    .random(using: &random), [.all, .block, .character].randomElement(using: &random) ?? .all,
                    [nil, 1, 2].randomElement(using: &random) ?? nil, [nil, 1, 2].randomElement(using: &random) ?? nil,
                    ["", "r", "w", "m", "rw", "rwm"].randomElement(using: &random) ?? "")
            }
            let program = DeviceProgram.compile(rules)
            for kind in [Self.block, Self.character] {
                for rights in UInt32(1)...7 {
                    for (major, minor) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] as [(UInt32, UInt32)] {
                        let answer = try run(program, kind: kind, rights: rights, major: major, minor: minor) == 1
                        let wanted = expected(rules, kind: kind, rights: rights, major: major, minor: minor)
                        #expect(answer == wanted, "\(rules) kind \(kind) rights \(rights) \(major):\(minor)")
                        if answer != wanted { return }
                    }
                }
            }
        }
    }

    @Test func rulesAreBounded() throws {
        let rules = [DeviceRule](repeating: rule(true, .block, 8, 1, "r"), count: ContainerResources.deviceRuleLimit)
        #expect(try DeviceProgram(rules).instructions.count < 8192)
        #expect(throws: CgroupError.self) { try DeviceProgram(rules + [DeviceRule(allow: true)]) }
    }
}
