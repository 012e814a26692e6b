import ContainerSpec
import Testing

@Suite struct ProcessPropertyTests {
    private func process(_ members: String) throws -> ContainerProcess { try decode(document(process: members)).process }

    @Test func terminal() throws {
        let sized = try process(#""terminal": true, "consoleSize": {"height": 24, "width": 65535}"#)
        #expect(sized.terminal && sized.consoleSize == ConsoleSize(rows: 24, columns: 65_535))
        #expect(try process(#""terminal": true, "consoleSize": {"height": 0, "width": 0}"#).consoleSize == nil)
        #expect(try process(#""terminal": true"#).consoleSize == nil)
    }

    @Test func consoleSizeWithoutTerminalIsIgnoredWithAWarning() throws {
        var warnings: [SpecIssue] = []
        let json = document(process: #""consoleSize": {"height": "x", "width": -1}"#)
        #expect(try ContainerSpec.decode(Array(json.utf8), warnings: &warnings).process.consoleSize == nil)
        #expect(warnings.map(\.path) == ["process.consoleSize"])
    }

    @Test func usersByName() throws {
        for name in ["me", "me:us", "1000:us", "2000:2000"] {
            let user = try process(#""user": {"username": "\#(name)", "uid": 0, "gid": 0, "umask": 7, "additionalGids": [4]}"#).user
            #expect(user.username == name && user.uid == 0 && user.gid == 0 && user.umask == 7 && user.additionalGids == [4])
        }
        #expect(try process(#""user": {"username": "", "uid": 3}"#).user.username == nil)
    }

    @Test func ioPriority() throws {
        #expect(
            try process(#""ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 7}"#).ioPriority
                == IOPriority(ioClass: .realTime, priority: 7))
        #expect(try process(#""ioPriority": {"class": "IOPRIO_CLASS_BE"}"#).ioPriority == IOPriority(ioClass: .bestEffort, priority: 0))
        #expect(
            try process(#""ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4}"#).ioPriority
                == IOPriority(ioClass: .idle, priority: 0))
        #expect(try process(#""ioPriority": {}"#).ioPriority == nil)
        // The numbers of include/uapi/linux/ioprio.h.
        #expect(IOPriority.Class.realTime.rawValue == 1 && IOPriority.Class.bestEffort.rawValue == 2 && IOPriority.Class.idle.rawValue == 3)
    }

    @Test func scheduler() throws {
        func scheduler(_ members: String) throws -> SchedulerSettings? { try process("\"scheduler\": {\(members)}").scheduler }
        #expect(try scheduler("") == nil)
        let nice =
            try #require(
                try scheduler(#""policy": "SCHED_BATCH", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_PARAMS"]"#))
        #expect(nice.policy.rawValue == 3 && nice.nice == -20 && nice.priority == 0 && nice.flags == 0x11)
        let fifo = try #require(try scheduler(#""policy": "SCHED_FIFO", "priority": 99, "nice": 0"#))
        #expect(fifo.policy.rawValue == 1 && fifo.priority == 99)
        let deadline = try #require(
            try scheduler(
                #"""
                "policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024, "period": 4194304000,
                "flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"]
                """#))
        #expect(deadline.policy.rawValue == 6 && deadline.runtime == 1024 && deadline.deadline == 1024 && deadline.period == 4_194_304_000)
        #expect(deadline.flags == 0x06)
        #expect(try scheduler(#""policy": "SCHED_DEADLINE", "runtime": 50000, "deadline": 100000, "period": 0"#)?.period == 0)
        let numbers: [(String, UInt32)] = [("SCHED_OTHER", 0), ("SCHED_RR", 2), ("SCHED_IDLE", 5)]
        for (policy, number) in numbers {
            #expect(try scheduler(#""policy": "\#(policy)", "priority": \#(number == 2 ? 1 : 0)"#)?.policy.rawValue == number)
        }
    }

    @Test func execCPUAffinity() throws {
        let affinity = try #require(try process(#""execCPUAffinity": {"initial": "0-3,7", "final": "64,8191"}"#).execCPUAffinity)
        #expect(affinity.initial?.words == [0x8F] && affinity.final?.contains(8191) == true && affinity.final?.words.count == 128)
        #expect(try process(#""execCPUAffinity": {"final": "1"}"#).execCPUAffinity?.initial == nil)
        #expect(try process(#""execCPUAffinity": {"final": ""}"#).execCPUAffinity == nil)
    }

    @Test func labels() throws {
        let labelled = try process(#""apparmorProfile": "docker-default", "selinuxLabel": "system_u:system_r:t:s0:c1,c2""#)
        #expect(labelled.apparmorProfile == "docker-default" && labelled.selinuxLabel == "system_u:system_r:t:s0:c1,c2")
        #expect(try process(#""apparmorProfile": "", "selinuxLabel": """#).apparmorProfile == nil)
    }

    @Test(arguments: [
        (#""terminal": true, "consoleSize": {"height": 65536, "width": 1}"#, ["consoleSize.height"]),
        (#""terminal": true, "consoleSize": {"height": -1}"#, ["consoleSize.width", "consoleSize.height"]),
        (#""terminal": true, "consoleSize": [1, 2]"#, ["consoleSize"]), (#""user": {"username": "a:b:c"}"#, ["user.username"]),
        (#""user": {"username": ":b"}"#, ["user.username"]), (#""user": {"username": "b:"}"#, ["user.username"]),
        (#""user": {"username": "a\nb"}"#, ["user.username"]),
        (#""user": {"username": "a", "uid": 1, "gid": 2}"#, ["user.uid", "user.gid"]),
        (#""user": {"username": "\#(String(repeating: "a", count: 513))"}"#, ["user.username"]),
        (#""ioPriority": {"class": "IOPRIO_CLASS_NONE"}"#, ["ioPriority.class"]), (#""ioPriority": {"priority": 1}"#, ["ioPriority.class"]),
        (#""ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}"#, ["ioPriority.priority"]),
        (#""scheduler": {"policy": "SCHED_ISO"}"#, ["scheduler.policy"]), (#""scheduler": {"nice": 1}"#, ["scheduler.policy"]),
        (#""scheduler": {"policy": "fifo"}"#, ["scheduler.policy"]),
        (#""scheduler": {"policy": "SCHED_OTHER", "nice": 20}"#, ["scheduler.nice"]),
        (#""scheduler": {"policy": "SCHED_OTHER", "nice": -21}"#, ["scheduler.nice"]),
        (#""scheduler": {"policy": "SCHED_RR"}"#, ["scheduler.priority"]),
        (#""scheduler": {"policy": "SCHED_FIFO", "priority": 0}"#, ["scheduler.priority"]),
        (#""scheduler": {"policy": "SCHED_FIFO", "priority": 100}"#, ["scheduler.priority"]),
        (#""scheduler": {"policy": "SCHED_FIFO", "priority": 1, "nice": 1}"#, ["scheduler.nice"]),
        (#""scheduler": {"policy": "SCHED_IDLE", "nice": 1}"#, ["scheduler.nice"]),
        (#""scheduler": {"policy": "SCHED_BATCH", "priority": 1}"#, ["scheduler.priority"]),
        (#""scheduler": {"policy": "SCHED_OTHER", "runtime": 5000, "period": 1}"#, ["scheduler.runtime", "scheduler.period"]),
        (
            #""scheduler": {"policy": "SCHED_OTHER", "flags": ["RESET_ON_FORK", "SCHED_FLAG_UTIL_CLAMP_MIN"]}"#,
            [
                "scheduler.flags[0]",
                "scheduler.flags[1]",
            ]
        ),
        (#""scheduler": {"policy": "SCHED_DEADLINE"}"#, ["scheduler.runtime", "scheduler.deadline"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 100000}"#, ["scheduler.runtime"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 200001, "deadline": 200000}"#, ["scheduler.runtime"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 200001, "period": 200000}"#, ["scheduler.deadline"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 99999}"#, ["scheduler.deadline"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 99999}"#, ["scheduler.period"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 300000, "period": 4194304001}"#, ["scheduler.period"]),
        (#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": 18446744073709551615, "deadline": 300000}"#, ["scheduler.runtime"]),
        (#""execCPUAffinity": {"initial": "3-1"}"#, ["execCPUAffinity.initial"]),
        (#""execCPUAffinity": {"final": "8192"}"#, ["execCPUAffinity.final"]),
        (#""execCPUAffinity": {"initial": 0}"#, ["execCPUAffinity.initial"]), (#""selinuxLabel": "a\u0000""#, ["selinuxLabel"]),
        (#""apparmorProfile": "\#(String(repeating: "a", count: 4096))""#, ["apparmorProfile"]),
    ])
    func refused(_ members: String, _ expected: [String]) {
        let json = document(process: members)
        #expect(paths(json) == expected.map { "process." + $0 }, "\(refusal(json))")
    }

    @Test(arguments: [
        ("0", "0"), ("0-3,7", "0-3,7"), ("7,0,1,2,3", "0-3,7"), ("1-1", "1"), ("63-64", "63-64"), ("0,0", "0"), ("8191", "8191"),
        ("0-8191", "0-8191"),
        ("007", "7"),
    ])
    func cpuLists(_ text: String, _ shortest: String) throws {
        let list = try #require(CPUList(text))
        #expect(list.description == shortest)
        #expect(CPUList(list.description) == list && list.words.last != 0)
        #expect(!list.contains(-1) && !list.contains(8192))
    }

    @Test(arguments: [
        "", ",", "0,", "-", "1-", "-1", "1-0", "8192", "0-8192", "a", "0x1", " 0", "0 ", "1--2", "1-2-3", "+1", "99999999999999999999",
        "٣", "0-3:2/4",
        String(repeating: "0,", count: 2048) + "0",
    ])
    func noCPULists(_ text: String) { #expect(CPUList(text) == nil) }
}
