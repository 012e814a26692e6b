import Foundation
import Testing

@testable import Cgroups

/// What the kernel writes, what it does not, and what a later one might.
@Suite struct FileTests {
    @Test(
        arguments: [
            ("0", 0), ("42", 42), ("18446744073709551615", .max), ("18446744073709551616", nil), ("", nil), ("-1", nil), ("+1", nil),
            ("1 ", nil), ("max", nil), ("000000000000000000001", nil), ("1\u{0}", nil),
        ] as [(String, UInt64?)])
    func numbers(_ text: String, _ value: UInt64?) { #expect(CgroupFile.number(Array(text.utf8)[...]) == value) }

    @Test(
        arguments: [
            ("0.00", 0), ("0.12", 12), ("12.5", 1250), ("100.00", 10000), ("3", 300), ("1.239", 123), (".5", nil), ("1.", 100),
            ("1.x0", nil),
            ("-1.00", nil), ("184467440737095516.16", nil), ("", nil), (".", nil),
        ] as [(String, UInt64?)])
    func percentages(_ text: String, _ value: UInt64?) { #expect(CgroupFile.hundredths(Array(text.utf8)[...]) == value) }

    @Test func processLists() {
        #expect(CgroupFile.processIDs(Array("1\n22\n333\n".utf8)) == [1, 22, 333])
        #expect(CgroupFile.processIDs([]) == [])
        // 0 and negative numbers mean whole groups to kill(2); the last is cut by the limit on what is read.
        #expect(CgroupFile.processIDs(Array("0\n-1\n7\n4294967297\n2147483647\n12".utf8)) == [7, 2_147_483_647])
    }

    @Test func events() {
        #expect(CgroupEvents(parsing: Array("populated 1\nfrozen 0\n".utf8)).populated)
        let frozen = CgroupEvents(parsing: Array("populated 0\nfrozen 1\n".utf8))
        #expect(!frozen.populated && frozen.frozen)
        // A file that says nothing: rather wait for a group than take it for empty.
        #expect(CgroupEvents(parsing: []).populated)
        #expect(CgroupEvents(parsing: Array("populated\nfrozen yes 1\n\u{0}\n".utf8)).populated)
    }

    @Test func memoryEvents() {
        let text = "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 9\n"
        let events = MemoryEvents(parsing: Array(text.utf8))
        #expect([events.low, events.high, events.max, events.oom, events.oomKill, events.oomGroupKill] == [1, 2, 3, 4, 5, 6])
        #expect(MemoryEvents(parsing: Array("oom_kill \noom_kill 7".utf8)).oomKill == 7)
        #expect(MemoryEvents(parsing: Array("oom_killed 7\n oom_kill".utf8)) == MemoryEvents(parsing: []))
    }

    @Test func processorTime() throws {
        let old = try #require(CgroupStats.cpu(Array("usage_usec 30\nuser_usec 20\nsystem_usec 10\n".utf8)))
        #expect(old.usage == 30 && old.user == 20 && old.system == 10 && old.throttled == nil)
        let text = "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 2\nthrottled_usec 700\nnr_bursts 0\n"
        let new = try #require(CgroupStats.cpu(Array(text.utf8)))
        #expect(new.periods == 5 && new.throttledPeriods == 2 && new.throttled == 700)
        #expect(CgroupStats.cpu([]) == nil)
        #expect(CgroupStats.cpu(nil) == nil)
    }

    @Test func devices() throws {
        let text = """
            8:0 rbytes=3138560 wbytes=4096 rios=77 wios=1 dbytes=5 dios=6
            8:16
            bad rbytes=1
            8:32:0 rbytes=1
            254:0 rbytes=1 wbytes=x rios=2 future=9 wios=3

            """
        let devices = try #require(CgroupStats.devices(Array(text.utf8)))
        #expect(devices.map(\.device) == ["8:0", "254:0"])
        #expect(devices[0].readBytes == 3_138_560 && devices[0].writes == 1 && devices[0].discards == 6 && devices[0].discardedBytes == 5)
        #expect(devices[1].writtenBytes == 0 && devices[1].reads == 2 && devices[1].writes == 3)
        let many = (0..<200).map { "8:\($0) rbytes=1 wbytes=1 rios=1 wios=1\n" }.joined()
        #expect(CgroupStats.devices(Array(many.utf8))?.count == 64)
    }

    @Test func pressure() throws {
        let text = "some avg10=1.50 avg60=0.50 avg300=0.10 total=1234\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=99\n"
        let both = try #require(CgroupStats.pressure(Array(text.utf8)))
        #expect(both.some == CgroupStats.Stall(average10: 150, total: 1234))
        #expect(both.full == CgroupStats.Stall(average10: 25, total: 99))
        let some = try #require(CgroupStats.pressure(Array("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n".utf8)))
        #expect(some.full == nil)
        #expect(CgroupStats.pressure(Array("full avg10=0.00 total=1\n".utf8)) == nil)
        #expect(CgroupStats.pressure(Array("some avg10=nan total=1\nsome total=5\n".utf8)) == nil)
    }

    @Test func jsonOfWhatThereIs() {
        var stats = CgroupStats()
        #expect(String(decoding: stats.json, as: UTF8.self) == "{}")
        stats.cpu = CgroupStats.cpu(Array("usage_usec 30\nuser_usec 20\nsystem_usec 10\n".utf8))
        stats.memory = CgroupStats.memory(
            current: Array("4096\n".utf8), peak: nil, max: Array("max\n".utf8), swap: nil, stat: Array("anon 1024\nfile 2048\n".utf8),
            events: Array("oom_kill 1\n".utf8))
        stats.tasks = CgroupStats.tasks(current: Array("3\n".utf8), max: Array("100\n".utf8), refused: 2)
        stats.devices = CgroupStats.devices(Array("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n".utf8))
        stats.memoryPressure = CgroupStats.pressure(Array("some avg10=12.34 total=18446744073709551615\n".utf8))
        #expect(
            String(decoding: stats.json, as: UTF8.self) == """
                {"cpu":{"usageMicroseconds":30,"userMicroseconds":20,"systemMicroseconds":10},\
                "memory":{"currentBytes":4096,"anonymousBytes":1024,"fileBytes":2048,\
                "events":{"low":0,"high":0,"max":0,"oom":0,"oomKill":1,"oomGroupKill":0}},\
                "pids":{"current":3,"limit":100,"refused":2},\
                "io":[{"device":"8:0","readBytes":1,"writtenBytes":2,"reads":3,"writes":4,"discardedBytes":0,"discards":0}],\
                "pressure":{"memory":{"some":{"average10Percent":12.340,"totalMicroseconds":18446744073709551615}}}}
                """)
    }

    /// Ordinary directories with the files of a kernel that counts refused forks only in the group of the process.
    @Test func refusedForks() throws {
        let root = NSTemporaryDirectory() + "/tether-groups-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (path, events) in [("", "max 1\n"), ("/main", "max 20\n"), ("/main/init.scope", "max 300\n"), ("/exec-1", "max x\n")] {
            try FileManager.default.createDirectory(atPath: root + path, withIntermediateDirectories: true)
            try Data(events.utf8).write(to: URL(fileURLWithPath: root + path + "/pids.events"))
        }
        // One without the file, and a file where a group is expected.
        try FileManager.default.createDirectory(atPath: root + "/empty", withIntermediateDirectories: true)
        try Data().write(to: URL(fileURLWithPath: root + "/cgroup.procs"))
        let group = try Cgroup(root: root)
        #expect(try group.refusedForks() == 321 && !group.countsForksBelow)
        // At most so many groups are looked at.
        for number in 0..<2 * Cgroup.removalsAtOnce {
            try FileManager.default.createDirectory(atPath: root + "/many/\(number)", withIntermediateDirectories: true)
            try Data("max 1000\n".utf8).write(to: URL(fileURLWithPath: root + "/many/\(number)/pids.events"))
        }
        #expect(try group.refusedForks() <= 321 + 1000 * UInt64(Cgroup.removalsAtOnce))
        // A kernel that counts what is below as well.
        try Data("max 0\n".utf8).write(to: URL(fileURLWithPath: root + "/pids.events.local"))
        #expect(try group.refusedForks() == 1 && group.countsForksBelow)
    }

    @Test func ceilings() {
        func ceilings(_ total: UInt64, _ available: UInt64?, reserveKiB: Int64? = nil, ringsKiB: Int64 = 0) -> ContainerCeilings {
            let meminfo = "MemTotal: \(total) kB\nMemFree: 1 kB\n" + (available.map { "MemAvailable: \($0) kB\n" } ?? "")
            return ContainerCeilings(
                meminfo: Array(meminfo.utf8), threadsMax: Array("3650\n".utf8), pidMax: Array("32768\n".utf8),
                loadavg: Array("0.00 0.00 0.00 1/70 123\n".utf8), reserveKiB: reserveKiB, ringsKiB: ringsKiB)
        }
        let usual = ceilings(480_268, 431_632)
        #expect(usual.reserveBytes == 24 << 20)
        #expect(usual.memoryBytes == (431_632 << 10) - (24 << 20))
        // 3580 are free; a sixteenth of all stays.
        #expect(usual.tasks == 3580 - 228)
        // A small VM keeps a fifth, a configured reserve is kept as it is, but never the whole VM.
        #expect(ceilings(50_000, 40_000).reserveBytes == (50_000 << 10) / 5)
        #expect(ceilings(480_268, 431_632, reserveKiB: 102_400).memoryBytes == (431_632 - 102_400) << 10)
        for wholeVM in [480_268, 1 << 55, Int64.max] {
            #expect(ceilings(480_268, 431_632, reserveKiB: wholeVM).reserveBytes == (480_268 << 10) / 2)
        }
        // The usual rings fit into the usual reserve; for more, more is kept, as far as the VM has it.
        #expect(ceilings(480_268, 431_632, ringsKiB: 8192) == usual && usual.hasRoom(ringsKiB: 16_384) && !usual.hasRoom(ringsKiB: 16_385))
        #expect(ceilings(480_268, 431_632, ringsKiB: 32_768).reserveBytes == 48 << 20)
        for rings in [Int64(8 << 20), .max] {
            let most = ceilings(480_268, 431_632, ringsKiB: rings)
            #expect(most.reserveBytes == (480_268 << 10) / 5 && !most.hasRoom(ringsKiB: rings))
        }
        #expect(ceilings(480_268, 431_632, reserveKiB: 4096, ringsKiB: 32_768).reserveBytes == 4 << 20)
        // Nothing to spare: a quarter of the VM is the container's all the same.
        #expect(ceilings(400_000, 10_000).memoryBytes == 100_000 << 10)
        #expect(ceilings(100_000, nil).memoryBytes == 80_000 << 10)
        #expect(ceilings(100_000, 200_000).memoryBytes == ceilings(100_000, nil).memoryBytes)

        let nothing = ContainerCeilings(meminfo: [], threadsMax: [], pidMax: Array("x".utf8), loadavg: [], reserveKiB: nil)
        #expect(nothing == ContainerCeilings(memoryBytes: nil, tasks: nil, reserveBytes: 0))
        let full = ContainerCeilings(
            meminfo: Array("MemTotal: 99999999999999999 kB\nMemAvailable:\n".utf8), threadsMax: Array("100".utf8),
            pidMax: Array("32768".utf8), loadavg: Array("0 0 0 1/500 1".utf8), reserveKiB: 1)
        #expect(full == ContainerCeilings(memoryBytes: nil, tasks: 16, reserveBytes: 0))
    }
}
