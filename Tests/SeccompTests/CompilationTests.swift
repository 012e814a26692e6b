import CLinux
import ContainerSpec
import Linux
import Testing

@testable import Seccomp

@Suite struct CompilationTests {
    @Test func theWholeProfileOfPodman() throws {
        let profile = try profile(podmanProfile())
        let plain = try compile(profile)
        #expect(plain.count > 500 && plain.count < 2000, "\(plain.count) instructions")
        #expect(try plain.trial(Int(SYS_getppid)).isSuccess)
        for call in [SYS_bpf, SYS_init_module, SYS_chroot, SYS_kexec_load, SYS_settimeofday] {
            #expect(try plain.trial(Int(call)) == .failure(permission), "\(call)")
        }
        // Its own default.
        #expect(try plain.trial(100_000) == .failure(notImplemented))

        let privileged = try compile(profile, for: .privileged)
        // What the kernel itself has to say to a call without arguments: it was let through.
        #expect(try privileged.trial(Int(SYS_settimeofday), [0, 0]).isSuccess)
        #expect(try privileged.trial(Int(SYS_chroot), [0]) == .failure(Errno(rawValue: EFAULT)))
        #expect(try privileged.trial(Int(SYS_kexec_load)) == .failure(permission))
    }

    /// Docker's profile forbids netlink's audit protocol to those who may not write to the audit log, and nothing else of
    /// socket(2): rules under conditions with comparisons.
    @Test func conditionsAndComparisonsTogether() throws {
        let profile = try profile(podmanProfile())
        let netlinkAudit: [UInt64] = [16, 3, 9]
        let plain = try compile(profile)
        #expect(try plain.trial(Int(SYS_socket), netlinkAudit) == .failure(Errno(rawValue: EINVAL)))
        #expect(try plain.trial(Int(SYS_socket), [16, 3, 0]).isSuccess)
        #expect(try plain.trial(Int(SYS_socket), [1, 1, 0]).isSuccess)
        let auditor = try compile(profile, for: SeccompTarget(boundingCapabilities: capability(29)))
        #expect(try auditor.trial(Int(SYS_socket), netlinkAudit) != .failure(Errno(rawValue: EINVAL)))
    }

    /// How Docker's own profile keeps a container without CAP_SYS_ADMIN from making namespaces: by a mask over the flags of
    /// clone(2), and by ENOSYS for clone3(2), whose flags lie in memory, so that libc falls back on the former.
    @Test func namespacesAreForThePrivileged() throws {
        let profile = try profile(
            #"""
            {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
             "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
             "syscalls": [
               {"names": ["exit_group", "landlock_add_rule"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
               {"names": ["getppid"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4294967295.0"}},
               {"names": ["clone", "clone3"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
               {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]},
                "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
               {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}}]}
            """#)
        let clone = Int(SYS_clone)
        // Flags that the kernel refuses, so that no process comes of a call that is let through.
        let (newNamespace, newUser): ([UInt64], [UInt64]) = ([0x2_0200], [0x1000_0200])
        let refusedByTheKernel = Outcome.failure(Errno(rawValue: EINVAL))
        let plain = try compile(profile, for: SeccompTarget(boundingCapabilities: 0))
        #expect(try plain.trial(clone, newNamespace) == .failure(permission))
        #expect(try plain.trial(clone, newUser) == .failure(permission))
        #expect(try plain.trial(clone, [0x800]) == refusedByTheKernel)
        #expect(try plain.trial(Int(SYS_clone3), [0, 0]) == .failure(notImplemented))
        #expect(try plain.trial(Int(SYS_getppid)) == .failure(permission), "of a later kernel")
        let privileged = try compile(profile, for: SeccompTarget(boundingCapabilities: capability(21)))
        #expect(try privileged.trial(clone, newNamespace) == refusedByTheKernel)
        #expect(try privileged.trial(clone, [0x800]) == refusedByTheKernel)
        #expect(try privileged.trial(Int(SYS_clone3), [0, 0]) == refusedByTheKernel)
    }

    @Test func rulesUnderConditions() throws {
        var rule = SeccompRule(names: ["a"], action: .allow)
        let kernel = KernelVersion(6, 1, 5)
        let target = SeccompTarget(boundingCapabilities: capability(1) | capability(5), kernel: kernel)
        #expect(rule.applies(to: target))
        rule.includes.capabilities = capability(1) | capability(5)
        #expect(rule.applies(to: target))
        rule.includes.capabilities = capability(1) | capability(2)
        #expect(!rule.applies(to: target), "one of the capabilities is missing")
        rule.includes = SeccompCondition()
        rule.excludes.capabilities = capability(2) | capability(5)
        #expect(!rule.applies(to: target), "one excluded capability is there")
        rule.excludes.capabilities = capability(2)
        #expect(rule.applies(to: target))

        rule.excludes = SeccompCondition()
        let versions = [
            (KernelVersion(4, 8), true), (KernelVersion(6, 1, 5), true), (KernelVersion(6, 1, 6), false), (KernelVersion(6, 2), false),
        ]
        for (version, included) in versions {
            rule.includes.minimumKernel = version
            #expect(rule.applies(to: target) == included)
            rule.includes.minimumKernel = nil
            rule.excludes.minimumKernel = version
            #expect(rule.applies(to: target) == !included)
            rule.excludes.minimumKernel = nil
        }

        rule.includes.architectures = ["s390x", SeccompTarget.machine]
        #expect(rule.applies(to: target))
        rule.includes.architectures = ["s390x"]
        #expect(!rule.applies(to: target))
        rule.includes.architectures = []
        rule.excludes.architectures = [SeccompTarget.machine]
        #expect(!rule.applies(to: target))
        rule.excludes.architectures = ["s390x"]
        #expect(rule.applies(to: target))
    }

    @Test func theRunningKernelIsKnown() { #expect(SeccompTarget(boundingCapabilities: 0).kernel >= KernelVersion(3, 17)) }

    @Test func callsThatTheLibraryDoesNotKnowArePassedOver() throws {
        let names = (0..<30).map { "\"no_such_call_\($0)\"" }.joined(separator: ",")
        let program = try compile(profile(rule: #""names": ["getppid", \#(names), "no_such_call_0"], "action": "SCMP_ACT_ERRNO""#))
        #expect(program.unknownCalls == (0..<20).map { "no_such_call_\($0)" })
        #expect(try program.trial(Int(SYS_getppid)) == .failure(permission))
    }

    @Test func callsOfOtherABIsOnlyAreNoError() throws {
        // socketcall is the 32-bit ABI's.
        let program = try compile(profile(rule: #""names": ["socketcall", "getppid"], "action": "SCMP_ACT_ERRNO""#))
        #expect(program.unknownCalls == [])
        #expect(try program.trial(Int(SYS_getppid)) == .failure(permission))
    }

    @Test func aRuleThatSaysWhatTheDefaultSaysIsPassedOver() throws {
        let rules =
            #""names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}, {"names": ["exit_group"], "action": "SCMP_ACT_ALLOW""#
        let program = try compile(profile(default: "SCMP_ACT_ERRNO", rule: rules))
        #expect(try program.trial(Int(SYS_getppid)) == .failure(permission))
    }

    @Test func aProfileWithoutRules() throws {
        let program = try compile(SeccompProfile(defaultAction: .allow))
        #expect(try program.trial(Int(SYS_getppid)).isSuccess)
        #expect(try compile(SeccompProfile(defaultAction: .killProcess)).trial(Int(SYS_getppid)) == .signal(SIGSYS))
    }

    @Test(arguments: [("SCMP_ARCH_S390X", "its byte order is not this machine's"), ("SCMP_ARCH_M68K", "libseccomp does not know it")])
    func architecturesThatDoNotGoTogether(_ name: String, _ cause: String) throws {
        var profile = SeccompProfile(defaultAction: .allow)
        profile.architectures = [name]
        #expect(throws: SeccompError("add seccomp architecture", name, cause)) { try compile(profile) }
    }

    /// The decoder lets no such comparison through; libseccomp's own answer names the rule.
    @Test func aRuleThatTheLibraryRefusesIsNamed() throws {
        var profile = SeccompProfile(defaultAction: .allow)
        profile.rules = [SeccompRule(names: ["getuid", "getppid"], action: .errno(3))]
        profile.rules[0].comparisons = [SeccompComparison(index: 6, value: 0, operator: .equal)]
        #expect(throws: SeccompError("add seccomp rule", "SCMP_ACT_ERRNO(3) for getuid", "Invalid argument")) { try compile(profile) }
    }

    @Test func aProgramThatIsTooLongForTheKernelIsRefused() throws {
        var profile = SeccompProfile(defaultAction: .allow)
        // Two instructions a value, one for each half of it.
        for value in 0..<UInt64(3000) {
            var rule = SeccompRule(names: ["getppid"], action: .errno(1))
            rule.comparisons = [SeccompComparison(index: 0, value: value << 32 | value, operator: .equal)]
            profile.rules.append(rule)
        }
        let error = #expect(throws: SeccompError.self) { _ = try compile(profile) }
        #expect(error?.cause.hasSuffix("instructions, and the kernel at most 4096") == true, "\(String(describing: error))")
    }

    /// libseccomp's work grows with the square of the comparisons and faster.
    static let endless: SeccompProfile = {
        var profile = SeccompProfile(defaultAction: .allow)
        profile.architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        for number in 0..<UInt64(4000) {
            var rule = SeccompRule(names: ["read"], action: .errno(1))
            rule.comparisons = (0..<UInt32(6)).map { index in
                SeccompComparison(index: index, value: 0x1_0000_0001 &* (number &* 7 &+ UInt64(index) &* number), operator: .equal)
            }
            profile.rules.append(rule)
        }
        return profile
    }()

    @Test func aCompilationWithoutEndIsGivenUp() throws {
        let clock = ContinuousClock()
        var failure: SeccompError?
        let time = try clock.measure {
            var compilation = try SeccompCompilation(Self.endless, for: .unprivileged, patience: 300)
            do throws(SeccompError) {
                while try compilation.step() == nil {
                    var watched = pollfd(fd: compilation.descriptor, events: Int16(POLLIN), revents: 0)
                    _ = poll(&watched, 1, compilation.deadline.pollTimeout)
                }
            } catch { failure = error }
        }
        #expect(failure?.cause.hasPrefix("not done in time") == true)
        #expect(time >= .milliseconds(290) && time < .seconds(20), "\(time)")
        #expect(throws: SeccompError.self) { try SeccompCompilation(Self.endless, for: .unprivileged, patience: 100).wait() }
    }

    @Test func aStopEndsTheWait() throws {
        let pipe = try Pipe()
        _ = write(pipe.write.rawValue, "x", 1)
        let interrupt = Interrupt(descriptor: pipe.read.rawValue)
        #expect(throws: SeccompError("compile", "linux.seccomp", "stopped")) {
            try SeccompCompilation(Self.endless, for: .unprivileged).wait(interrupt: interrupt)
        }
    }

    @Test func anEventLoopCanStepIt() throws {
        try #require(builderHasRun)
        var compilation = try SeccompCompilation(profile(podmanProfile()), for: .unprivileged)
        var steps = 0
        var program: SeccompProgram?
        while program == nil && steps < 1000 {
            var watched = pollfd(fd: compilation.descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&watched, 1, compilation.deadline.pollTimeout)
            program = try compilation.step()
            steps += 1
        }
        #expect(program == (try compile(profile(podmanProfile()))))
    }

    @Test func cancellingLeavesNoProcess() throws {
        let compilation = try SeccompCompilation(Self.endless, for: .unprivileged)
        let pid = compilation.processID
        compilation.cancel()
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid && clinux_wtermsig(status) == SIGKILL)
    }

    @Test func answersThatMakeNoSense() throws {
        func message(_ count: Int) -> [UInt8] {
            CompilationMessage.encode(SeccompProgram(instructions: [UInt8](repeating: 1, count: count), flags: 0, unknownCalls: ["x"]))
        }
        let good = message(16)
        let expected = SeccompProgram(instructions: [UInt8](repeating: 1, count: 16), flags: 4, unknownCalls: ["x"])
        #expect(try CompilationMessage.decode(good, flags: 4) == expected)
        var bad = (0..<good.count).map { Array(good.prefix($0)) }
        // Without the list of calls it is whole.
        bad.removeAll { $0.count == good.count - 5 }
        for count in [0, 7, 4097 * 8] { bad.append(message(count)) }
        bad.append(CompilationMessage.encode(SeccompError("a", "b", "c")) + [0])
        bad.append(good + [1])
        for message in bad {
            #expect(throws: SeccompError("compile", "linux.seccomp", "the compiler's answer makes no sense")) {
                try CompilationMessage.decode(message, flags: 0)
            }
        }
        #expect(throws: SeccompError("a", "b", "c")) {
            try CompilationMessage.decode(CompilationMessage.encode(SeccompError("a", "b", "c")), flags: 0)
        }
    }
}
