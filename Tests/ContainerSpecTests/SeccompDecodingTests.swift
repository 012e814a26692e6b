import ContainerSpec
import Testing

@Suite struct SeccompDecodingTests {
    private func seccomp(_ json: String) throws -> SeccompProfile? { try decode(document(#""linux": {"seccomp": \#(json)}"#)).seccomp }

    private func problems(_ json: String) -> [SpecIssue] { issues(document(#""linux": {"seccomp": \#(json)}"#)) }

    /// The same, of a profile that is good but for the members of its one rule.
    private func problems(rule: String) -> [SpecIssue] {
        problems(#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{\#(rule)}]}"#)
    }

    @Test func theWholeObjectOfTheSpecification() throws {
        let profile = try seccomp(
            #"""
            {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
             "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], "listenerPath": "",
             "syscalls": [
               {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
               {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "args": [
                 {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
                 {"index": 5, "value": 18446744073709551516, "valueTwo": 9223372036854775807, "op": "SCMP_CMP_MASKED_EQ"}]}]}
            """#)
        var expected = SeccompProfile(defaultAction: .errno(38))
        expected.architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        expected.flags = 6
        expected.rules = [SeccompRule(names: ["read", "write"], action: .allow), SeccompRule(names: ["socket"], action: .errno(0))]
        expected.rules[1].comparisons = [
            SeccompComparison(index: 0, value: 16, operator: .equal),
            // Exact, though both are past what a double can hold: −100 (AT_FDCWD) must not become −1.
            SeccompComparison(index: 5, value: 18_446_744_073_709_551_516, valueTwo: 9_223_372_036_854_775_807, operator: .maskedEqual),
        ]
        #expect(profile == expected)
    }

    @Test func whatDockersAndPodmansProfilesHaveBesides() throws {
        let profile = try #require(
            try seccomp(
                #"""
                {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", "comment": "ours",
                 "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_S390X"}],
                 "syscalls": [
                   {"name": "bpf", "action": "SCMP_ACT_ERRNO", "errno": "EINVAL", "errnoRet": 22, "args": null, "comment": "",
                    "includes": {"arches": ["amd64", "x32"], "caps": ["CAP_BPF", "CAP_SYS_ADMIN"], "minKernel": "4.8"},
                    "excludes": {"caps": ["CAP_CHOWN"], "minKernel": "6.12.3"}},
                   {"names": ["a"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535, "includes": {}, "excludes": null}]}
                """#))
        #expect(profile.defaultAction == .errno(38))
        #expect(
            profile.architectureMap == [
                SeccompArchitectures(architecture: "SCMP_ARCH_X86_64", subarchitectures: ["SCMP_ARCH_X86"]),
                SeccompArchitectures(architecture: "SCMP_ARCH_S390X", subarchitectures: []),
            ])
        let rule = try #require(profile.rules.first)
        #expect(rule.names == ["bpf"] && rule.action == .errno(22) && rule.comparisons.isEmpty)
        #expect(rule.includes.architectures == ["amd64", "x32"] && rule.includes.capabilities == 1 << 39 | 1 << 21)
        #expect(rule.includes.minimumKernel == KernelVersion(4, 8) && rule.excludes.minimumKernel == KernelVersion(6, 12, 3))
        #expect(rule.excludes.capabilities == 1 && rule.excludes.architectures == [])
        #expect(profile.rules[1].action == .trace(65_535) && profile.rules[1].includes == SeccompCondition())
    }

    @Test(arguments: [
        ("SCMP_ACT_KILL", SeccompAction.killThread), ("SCMP_ACT_KILL_THREAD", .killThread), ("SCMP_ACT_KILL_PROCESS", .killProcess),
        ("SCMP_ACT_TRAP", .trap), ("SCMP_ACT_ERRNO", .errno(1)), ("SCMP_ACT_TRACE", .trace(1)), ("SCMP_ACT_LOG", .log),
        ("SCMP_ACT_ALLOW", .allow),
    ])
    func actions(_ name: String, _ action: SeccompAction) throws {
        #expect(try seccomp(#"{"defaultAction": "\#(name)"}"#) == SeccompProfile(defaultAction: action))
    }

    @Test(arguments: [
        ("SCMP_CMP_NE", SeccompComparison.Operator.notEqual), ("SCMP_CMP_LT", .less), ("SCMP_CMP_LE", .lessOrEqual),
        ("SCMP_CMP_EQ", .equal),
        ("SCMP_CMP_GE", .greaterOrEqual), ("SCMP_CMP_GT", .greater), ("SCMP_CMP_MASKED_EQ", .maskedEqual),
    ])
    func operators(_ name: String, _ expected: SeccompComparison.Operator) throws {
        let profile = try seccomp(
            #"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_TRAP", "args": [{"index": 1, "value": 2, "op": "\#(name)"}]}]}"#
        )
        #expect(profile?.rules.first?.comparisons == [SeccompComparison(index: 1, value: 2, operator: expected)])
    }

    @Test(
        arguments: [
            ("EPERM", 1), ("ENOSYS", 38), ("EHWPOISON", 133), ("EAGAIN", 11), ("EWOULDBLOCK", 11), ("ENOTSUP", 95), ("EDEADLOCK", 35),
            ("4094", 4094),
        ] as [(String, UInt16)])
    func errorsByName(_ name: String, _ number: UInt16) throws {
        #expect(try seccomp(#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "\#(name)"}"#)?.defaultAction == .errno(number))
    }

    @Test(arguments: ["null", "{}", #"{"defaultAction": "", "syscalls": [], "architectures": null}"#])
    func anEmptyProfileIsNone(_ json: String) throws { #expect(try seccomp(json) == nil) }

    @Test(arguments: [
        ("[]", ""), (#"{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW"}]}"#, ".defaultAction"),
        (#"{"defaultAction": "ALLOW"}"#, ".defaultAction"), (#"{"defaultAction": 1}"#, ".defaultAction"),
        (#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, ".defaultAction"),
        (#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}"#, ".defaultErrnoRet"),
        (#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095}"#, ".defaultErrnoRet"),
        (#"{"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536}"#, ".defaultErrnoRet"),
        (#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#, ".defaultErrnoRet"),
        (#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrno": "EPERM"}"#, ".defaultErrno"),
        (#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSUCH"}"#, ".defaultErrno"),
        (#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "4095"}"#, ".defaultErrno"),
        (#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM", "defaultErrnoRet": 2}"#, ".defaultErrno"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["x86"]}"#, ".architectures[0]"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_x32"]}"#, ".architectures[1]"),
        (
            #"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#,
            ".archMap"
        ),
        (#"{"defaultAction": "SCMP_ACT_LOG", "archMap": [{}]}"#, ".archMap[0].architecture"),
        (
            #"{"defaultAction": "SCMP_ACT_LOG", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["?"]}]}"#,
            ".archMap[0].subArchitectures[0]"
        ),
        (#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#, ".flags[0]"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#, ".flags[0]"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/run/agent"}"#, ".listenerPath"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"}"#, ".listenerMetadata"),
        (#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": ["read"]}"#, ".syscalls[0]"),
    ])
    func aBadProfileIsRefusedByName(_ json: String, _ path: String) {
        #expect(problems(json).map(\.path) == ["linux.seccomp" + path], "\(problems(json))")
    }

    @Test(arguments: [
        (#""action": "SCMP_ACT_LOG""#, "names"), (#""names": [], "action": "SCMP_ACT_LOG""#, "names"),
        (#""names": [""], "action": "SCMP_ACT_LOG""#, "names[0]"), (#""names": ["a b"], "action": "SCMP_ACT_LOG""#, "names[0]"),
        (#""names": ["a\u0000"], "action": "SCMP_ACT_LOG""#, "names[0]"), (#""names": "read", "action": "SCMP_ACT_LOG""#, "names"),
        (#""names": ["\#(String(repeating: "a", count: 65))"], "action": "SCMP_ACT_LOG""#, "names[0]"),
        (#""names": ["a"], "name": "b", "action": "SCMP_ACT_LOG""#, "name"), (#""name": "/", "action": "SCMP_ACT_LOG""#, "name"),
        (#""names": ["a"]"#, "action"), (#""names": ["a"], "action": "SCMP_ACT_NOTIFY""#, "action"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "errnoRet": 1"#, "errnoRet"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [1]"#, "args[0]"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"value": 0, "op": "SCMP_CMP_EQ"}]"#, "args[0].index"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#, "args[0].index"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]"#, "args[0].value"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]"#, "args[0].value"),
        (
            #""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]"#,
            "args[0].value"
        ),
        (
            #""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "valueTwo": 0.5, "op": "SCMP_CMP_EQ"}]"#,
            "args[0].valueTwo"
        ),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0}]"#, "args[0].op"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "=="}]"#, "args[0].op"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "includes": {"caps": ["CAP_SYS_ADMN"]}"#, "includes.caps[0]"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "5"}"#, "excludes.minKernel"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.x"}"#, "excludes.minKernel"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.8-rc1"}"#, "excludes.minKernel"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.8.1.1"}"#, "excludes.minKernel"),
        (#""names": ["a"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4294967296.1"}"#, "excludes.minKernel"),
    ])
    func aBadRuleIsRefusedByName(_ rule: String, _ path: String) {
        #expect(problems(rule: rule).map(\.path) == ["linux.seccomp.syscalls[0].\(path)"], "\(problems(rule: rule))")
    }

    /// A rule of n names counts n times, and once more for each comparison where two are of the same argument.
    @Test func rulesAreCounted() {
        func rule(_ names: Int, _ indexes: [Int]) -> String {
            let list = (0..<names).map { "\"n\($0)\"" }.joined(separator: ",")
            let args = indexes.map { #"{"index": \#($0), "value": 0, "op": "SCMP_CMP_EQ"}"# }.joined(separator: ",")
            return #""names": [\#(list)], "action": "SCMP_ACT_LOG", "args": [\#(args)]"#
        }
        #expect(problems(rule: rule(4096, [0, 1, 2])).isEmpty)
        #expect(problems(rule: rule(4097, [])).map(\.path) == ["linux.seccomp.syscalls"])
        #expect(problems(rule: rule(2048, [3, 3])).isEmpty)
        #expect(problems(rule: rule(2049, [3, 3])).map(\.path) == ["linux.seccomp.syscalls"])
    }

    @Test func unknownMembersAreWarnedOf() throws {
        var warnings: [SpecIssue] = []
        let json =
            #"{"defaultAction": "SCMP_ACT_LOG", "x": 1, "syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG", "arg": [], "includes": {"cap": []}}]}"#
        _ = try ContainerSpec.decode(Array(document(#""linux": {"seccomp": \#(json)}"#).utf8), warnings: &warnings)
        let rule = "linux.seccomp.syscalls[0]"
        #expect(warnings.map(\.path) == [rule + ".includes.cap", rule + ".arg", "linux.seccomp.x"])
    }

    @Test func kernelVersions() {
        #expect(KernelVersion(release: "6.1.0-56-cloud-amd64") == KernelVersion(6, 1))
        #expect(KernelVersion(release: "4.18.0") == KernelVersion(4, 18))
        #expect(KernelVersion(release: "6.12") == KernelVersion(6, 12))
        #expect(KernelVersion(release: "") == nil && KernelVersion(release: "x6.1") == nil && KernelVersion(release: "6") == nil)
        #expect(KernelVersion(4, 8) < KernelVersion(4, 10) && KernelVersion(4, 19, 300) < KernelVersion(5, 0))
        #expect(KernelVersion(5, 4, 1) > KernelVersion(5, 4) && !(KernelVersion(5, 4) < KernelVersion(5, 4)))
    }
}
