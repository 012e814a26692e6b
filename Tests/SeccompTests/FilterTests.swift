import CLinux
import CSeccompTrial
import ContainerSpec
import Linux
import Testing

@testable import Seccomp

/// Real calls under real filters: what the kernel makes of a compiled profile.
@Suite struct FilterTests {
    private let getppid = Int(SYS_getppid)
    /// fcntl(-1, …): a call with three arguments that the kernel refuses with EBADF and no other effect.
    private let fcntl = Int(SYS_fcntl)
    private let badDescriptor = Outcome.failure(Errno(rawValue: EBADF))
    private let none = UInt64.max

    @Test(arguments: [
        ("SCMP_ACT_ERRNO\"", Outcome.failure(permission)), ("SCMP_ACT_ERRNO\", \"errnoRet\": 38", .failure(notImplemented)),
        ("SCMP_ACT_ERRNO\", \"errnoRet\": 0", .result(0)), ("SCMP_ACT_ERRNO\", \"errnoRet\": 4094", .failure(Errno(rawValue: 4094))),
        ("SCMP_ACT_KILL_PROCESS\"", .signal(SIGSYS)), ("SCMP_ACT_KILL_THREAD\"", .signal(SIGSYS)), ("SCMP_ACT_KILL\"", .signal(SIGSYS)),
        ("SCMP_ACT_TRAP\"", .signal(SIGSYS)),
        // Nobody traces the process.
        ("SCMP_ACT_TRACE\", \"errnoRet\": 7", .failure(notImplemented)),
    ])
    func anActionOfARule(_ action: String, _ outcome: Outcome) throws {
        let program = try compile(profile(rule: "\"names\": [\"getppid\"], \"action\": \"\(action)"))
        #expect(try program.trial(getppid) == outcome)
        #expect(try program.trial(Int(SYS_getuid)).isSuccess, "a call that no rule names")
    }

    @Test(arguments: ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
    func actionsThatLetACallBeMade(_ action: String) throws {
        let program = try compile(profile(default: "SCMP_ACT_ERRNO", rule: #""names": ["getppid", "exit_group"], "action": "\#(action)""#))
        #expect(try program.trial(getppid) == .result(Int(getpid())))
        #expect(try program.trial(Int(SYS_getpgrp)) == .failure(permission))
    }

    @Test(arguments: [
        ("SCMP_ACT_KILL_PROCESS", Outcome.signal(SIGSYS)), ("SCMP_ACT_KILL", .signal(SIGSYS)), ("SCMP_ACT_TRAP", .signal(SIGSYS)),
        ("SCMP_ACT_ERRNO", .failure(permission)), ("SCMP_ACT_TRACE", .failure(notImplemented)),
    ])
    func theDefaultAction(_ action: String, _ outcome: Outcome) throws {
        // A high number beside, so that the call is not taken for a newer one.
        let program = try compile(profile(default: action, rule: #""names": ["exit_group", "futex_waitv"], "action": "SCMP_ACT_ALLOW""#))
        #expect(try program.trial(getppid) == outcome)
    }

    @Test(arguments: [
        ("SCMP_ACT_KILL_THREAD", true, Int32(0)), ("SCMP_ACT_KILL_PROCESS", false, SIGSYS), ("SCMP_ACT_ERRNO", true, 0),
    ])
    func whatDiesIsTheThreadOrTheProcess(_ action: String, _ survives: Bool, _ signal: Int32) throws {
        let program = try compile(profile(rule: #""names": ["getppid"], "action": "\#(action)""#))
        var call = SeccompProgram.call(getppid)
        var survived: Int32 = -1
        var ended: Int32 = -1
        let started = program.instructions.withUnsafeBytes { trial_run_thread($0.baseAddress, $0.count / 8, &call, &survived, &ended) }
        #expect(started == 0 && (survived == 1) == survives && ended == signal)
    }

    @Test func aTracerGetsTheNumber() throws {
        let program = try compile(profile(rule: #""names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": 51966"#))
        var call = SeccompProgram.call(getppid)
        var end = trial_end()
        var message: UInt = 0
        let started = program.instructions.withUnsafeBytes { trial_run_traced($0.baseAddress, $0.count / 8, &call, &end, &message) }
        #expect(started == 0 && end.installed == 0 && message == 51_966)
        #expect(Outcome(end) == .result(Int(getpid())))
    }

    @Test func flagsAreTakenByTheKernel() throws {
        let flags = #""flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],"#
        let program = try compile(profile(more: flags, rule: #""names": ["getppid"], "action": "SCMP_ACT_ERRNO""#))
        #expect(program.flags == 6)
        #expect(try program.trial(getppid) == .failure(permission))
    }

    /// Each operator at its borders, in both halves of the 64 bits.
    @Test(
        arguments: [
            ("EQ", 5, 0, [5], [4, 6, 0x1_0000_0005]), ("NE", 5, 0, [4, 6, 0x1_0000_0005], [5]),
            ("LT", 0x1_0000_0000, 0, [0, 0xFFFF_FFFF], [0x1_0000_0000, .max]),
            ("LE", 0x1_0000_0000, 0, [0, 0x1_0000_0000], [0x1_0000_0001, .max]),
            ("GE", 0x1_0000_0000, 0, [0x1_0000_0000, .max], [0, 0xFFFF_FFFF]),
            ("GT", 0x1_0000_0000, 0, [0x1_0000_0001, .max], [0, 0x1_0000_0000]),
            ("MASKED_EQ", 0xF0, 0x50, [0x50, 0x5F, 0xFF5A], [0x40, 0xD0, 0]),
            ("MASKED_EQ", 0xFFFF_FFFF_0000_0000, 0x8000_0000_0000_0000, [0x8000_0000_0000_0001], [0, 0x8000_0001_0000_0000]),
            ("EQ", 18_446_744_073_709_551_516, 0, [18_446_744_073_709_551_516], [.max, 18_446_744_073_709_551_515]),
        ] as [(String, UInt64, UInt64, [UInt64], [UInt64])])
    func comparisons(_ name: String, _ value: UInt64, _ second: UInt64, _ matching: [UInt64], _ others: [UInt64]) throws {
        let args = #""args": [{"index": 2, "value": \#(value), "valueTwo": \#(second), "op": "SCMP_CMP_\#(name)"}]"#
        let program = try compile(profile(rule: #""names": ["fcntl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, \#(args)"#))
        for argument in matching { #expect(try program.trial(fcntl, [none, 0, argument]) == .failure(Errno(rawValue: 77)), "\(argument)") }
        for argument in others { #expect(try program.trial(fcntl, [none, 0, argument]) == badDescriptor, "\(argument)") }
    }

    @Test func comparisonsOfSeveralArgumentsMustAllPass() throws {
        let args = #""args": [{"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_GE"}]"#
        let program = try compile(profile(rule: #""names": ["fcntl"], "action": "SCMP_ACT_ERRNO", \#(args)"#))
        #expect(try program.trial(fcntl, [none, 3, 9]) == .failure(permission))
        #expect(try program.trial(fcntl, [none, 3, 8]) == badDescriptor)
        #expect(try program.trial(fcntl, [none, 4, 9]) == badDescriptor)
    }

    @Test func ofTwoComparisonsOfOneArgumentOneIsEnough() throws {
        let args = #""args": [{"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]"#
        let program = try compile(profile(rule: #""names": ["fcntl"], "action": "SCMP_ACT_ERRNO", \#(args)"#))
        #expect(try program.trial(fcntl, [none, 3]) == .failure(permission))
        #expect(try program.trial(fcntl, [none, 5]) == .failure(permission))
        #expect(try program.trial(fcntl, [none, 4]) == badDescriptor)
    }

    @Test func aRuleWithoutArgumentsCountsBeforeOneWith() throws {
        let program = try compile(
            profile(
                #"""
                {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                  {"names": ["fcntl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": [{"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}]},
                  {"names": ["fcntl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78},
                  {"names": ["fcntl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 79}]}
                """#))
        #expect(try program.trial(fcntl, [none, 3]) == .failure(Errno(rawValue: 78)))
        #expect(try program.trial(fcntl, [none, 4]) == .failure(Errno(rawValue: 78)))
    }

    #if arch(x86_64)
        // getppid of the 32-bit ABI.
        private let getppid32 = 64

        @Test func callsThroughAnotherABIKill() throws {
            let program = try compile(profile(rule: #""names": ["getppid"], "action": "SCMP_ACT_ERRNO""#))
            #expect(try program.trial(getppid32, abi: TRIAL_X86) == .signal(SIGSYS))
            #expect(try program.trial(getppid, abi: TRIAL_X32) == .signal(SIGSYS))
            #expect(try program.trial(getppid) == .failure(permission))
        }

        @Test(arguments: [
            #""architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],"#,
            #"""
            "archMap": [{"architecture": "SCMP_ARCH_AARCH64"},
                        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
            """#,
        ])
        func otherABIsHaveTheirOwnNumbers(_ architectures: String) throws {
            let rule = #""names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77"#
            let program = try compile(profile(more: architectures, rule: rule))
            let failure = Outcome.failure(Errno(rawValue: 77))
            #expect(try program.trial(getppid32, abi: TRIAL_X86) == failure)
            #expect(try program.trial(getppid, abi: TRIAL_X32) == failure)
            #expect(try program.trial(getppid) == failure)
            // getppid's number in the other ABI is another call.
            #expect(try program.trial(getppid32) != failure)
            // Made where the kernel has the ABI; it may have been built without.
            let allowed = try program.trial(20, abi: TRIAL_X86)
            #expect(allowed.isSuccess || allowed == .failure(notImplemented) || allowed == .signal(SIGSEGV))
        }

        @Test func callsNewerThanTheProfileAreNotImplemented() throws {
            let all = #""architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],"#
            let rule = #""names": ["exit_group"], "action": "SCMP_ACT_ALLOW""#
            let program = try compile(profile(default: "SCMP_ACT_ERRNO", more: all, rule: rule))
            // exit_group has the number 231 here, 252 in the 32-bit ABI.
            #expect(try program.trial(230) == .failure(permission))
            #expect(try program.trial(232) == .failure(notImplemented))
            #expect(try program.trial(100_000) == .failure(notImplemented))
            #expect(try program.trial(230, abi: TRIAL_X32) == .failure(permission))
            #expect(try program.trial(232, abi: TRIAL_X32) == .failure(notImplemented))
            #expect(try program.trial(251, abi: TRIAL_X86) == .failure(permission))
            #expect(try program.trial(253, abi: TRIAL_X86) == .failure(notImplemented))
        }

        @Test func anABIThatIsNotListedStaysShutToNewerCalls() throws {
            let rule = #""names": ["exit_group"], "action": "SCMP_ACT_ALLOW""#
            let program = try compile(profile(default: "SCMP_ACT_ERRNO", rule: rule))
            #expect(try program.trial(232) == .failure(notImplemented))
            #expect(try program.trial(300, abi: TRIAL_X32) == .signal(SIGSYS))
            #expect(try program.trial(300, abi: TRIAL_X86) == .signal(SIGSYS))
        }

        /// With another default than an error, the default is what the profile says.
        @Test(arguments: [("SCMP_ACT_KILL_PROCESS", Outcome.signal(SIGSYS)), ("SCMP_ACT_TRACE", .failure(notImplemented))])
        func aDefaultThatKillsKillsNewerCallsToo(_ action: String, _ outcome: Outcome) throws {
            let program = try compile(profile(default: action, rule: #""names": ["exit_group"], "action": "SCMP_ACT_ALLOW""#))
            #expect(try program.trial(100_000) == outcome)
        }
    #endif
}
