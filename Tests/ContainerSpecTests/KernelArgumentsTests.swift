import ContainerSpec
import Testing

@Suite struct KernelArgumentsTests {
    private func parse(_ line: String) -> KernelArguments { KernelArguments(Array(line.utf8)) }

    /// Cases of the kernel's own splitting: quotation marks, several equals signs, white space of every kind.
    @Test(
        arguments: [
            ("", []), ("   ", []), ("quiet", [.init(name: "quiet", value: nil)]),
            (" a=1\tb=\n", [.init(name: "a", value: "1"), .init(name: "b", value: "")]),
            ("a=b=c", [.init(name: "a", value: "b=c")]), (#"a="b c" d"#, [.init(name: "a", value: "b c"), .init(name: "d", value: nil)]),
            (#""a=b c" d"#, [.init(name: "a", value: "b c"), .init(name: "d", value: nil)]), (#"a="b"#, [.init(name: "a", value: "b")]),
            (#"a=b" "c"#, [.init(name: "a", value: #"b" "c"#)]), ("=x", [.init(name: "=x", value: nil)]),
            (#"""#, [.init(name: "", value: nil)]),
            (#"a=""#, [.init(name: "a", value: "")]), (#""a=""#, [.init(name: "a", value: "")]), ("x -- y", [.init(name: "x", value: nil)]),
        ] as [(String, [KernelArguments.Argument])])
    func splitting(_ line: String, _ expected: [KernelArguments.Argument]) { #expect(parse(line).all == expected) }

    @Test func options() {
        let arguments = parse("console=ttyS1 tether.platform=vmware tether.debug quiet tether.platfrom=x tether.debug=maybe\n")
        #expect(arguments.platform == .vmware && arguments.debug)
        #expect(arguments.notUnderstood == ["tether.platfrom=x", "tether.debug=maybe"])
        #expect(arguments["console"] == "ttyS1" && arguments["quiet"] == "" && arguments["nothing"] == nil)
    }

    @Test(arguments: [
        ("tether.debug=1", true), ("tether.debug=0", false), ("tether.debug tether.debug=off", false), ("-- tether.debug", false),
        ("", false),
    ])
    func debug(_ line: String, _ expected: Bool) { #expect(parse(line).debug == expected) }

    @Test func aControlLineIsADevice() {
        #expect(parse("tether.control=/dev/ttyS3").control == ControlSettings(device: "/dev/ttyS3"))
        for line in ["tether.control", "tether.control=ttyS3", "tether.control=/dev/../etc/passwd", "tether.control=/dev"] {
            #expect(parse(line).control == nil && parse(line).notUnderstood == [line])
        }
    }

    @Test func platformsOthersThanVMwareAreNotTaken() {
        #expect(parse("tether.platform=kvm").platform == nil)
        #expect(parse("tether.platform=kvm").notUnderstood == ["tether.platform=kvm"])
        #expect(parse("tether.platform").platform == nil)
    }

    @Test func anyBytesAreTaken() {
        var generator = SystemRandomNumberGenerator()
        let alphabet: [UInt8] = Array("a=\" \n-.".utf8) + [0, 0xA0, 0xFF]
        for _ in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0...12, using: &generator)).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            #expect(KernelArguments(bytes).all.count <= bytes.count)
        }
    }
}
