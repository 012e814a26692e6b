extension ConsoleSize {
    /// nil for 0 × 0, which is what a terminal has anyway.
    static func read(_ reader: ObjectReader) -> ConsoleSize? {
        reader.warnOfUnknown(["height", "width"])
        reader.require("height", "how many rows the terminal has")
        reader.require("width", "how many columns the terminal has")
        guard let rows = reader.integer("height", 0...65_535), let columns = reader.integer("width", 0...65_535), rows > 0 || columns > 0
        else { return nil }
        return ConsoleSize(rows: UInt16(clamping: rows), columns: UInt16(clamping: columns))
    }
}

extension IOPriority {
    static func read(_ reader: ObjectReader) -> IOPriority? {
        let classes: [(word: String, value: Class)] = [
            ("IOPRIO_CLASS_RT", .realTime), ("IOPRIO_CLASS_BE", .bestEffort), ("IOPRIO_CLASS_IDLE", .idle),
        ]
        reader.warnOfUnknown(["class", "priority"])
        let priority = reader.integer("priority", 0...7)
        guard let ioClass = reader.choice("class", classes) else {
            if priority != nil { reader.require("class", "a class such as \"IOPRIO_CLASS_BE\"") }
            return nil
        }
        return IOPriority(ioClass: ioClass, priority: ioClass == .idle ? 0 : UInt16(clamping: priority ?? 0))
    }
}

extension SchedulerSettings {
    private static let policies: [(word: String, value: Policy)] = [
        ("SCHED_OTHER", .other), ("SCHED_FIFO", .fifo), ("SCHED_RR", .roundRobin), ("SCHED_BATCH", .batch), ("SCHED_IDLE", .idle),
        ("SCHED_DEADLINE", .deadline),
    ]
    /// include/uapi/linux/sched.h.
    private static let flagBits: [(word: String, value: UInt64)] = [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01), ("SCHED_FLAG_RECLAIM", 0x02), ("SCHED_FLAG_DL_OVERRUN", 0x04), ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ]

    static func read(_ reader: ObjectReader) -> SchedulerSettings? {
        reader.warnOfUnknown(["policy", "nice", "priority", "flags", "runtime", "deadline", "period"])
        if case .string("SCHED_ISO") = reader.value("policy") {
            reader.report(.unsupported, "policy", "not honoured: no Linux kernel has SCHED_ISO")
            return nil
        }
        guard let policy = reader.choice("policy", policies) else {
            if reader.members.contains(where: { !$0.value.asksForNothing }) { reader.require("policy", "a policy such as \"SCHED_BATCH\"") }
            return nil
        }
        var settings = SchedulerSettings(policy: policy)
        settings.readWeight(reader)
        settings.flags = flags(reader)
        settings.readDeadline(reader)
        return settings
    }

    /// `nice` and `priority`, of which a policy has one at most.
    private mutating func readWeight(_ reader: ObjectReader) {
        let nice = reader.integer("nice", -20...19) ?? 0
        let priority = reader.integer("priority", 0...99)
        switch policy {
        case .fifo, .roundRobin:
            self.priority = UInt32(clamping: priority ?? 0)
            if (priority ?? 0) == 0, reader.value("priority") == nil || priority != nil {
                reader.report(priority == nil ? .missing : .invalid, "priority", "required by the policy: an integer from 1 to 99")
            }
        case .other, .batch, .idle, .deadline:
            if let priority, priority != 0 { reader.report(.invalid, "priority", "must be 0 or left out: the policy has no priorities") }
        }
        if policy == .other || policy == .batch {
            self.nice = Int32(clamping: nice)
        } else if nice != 0 {
            reader.report(.invalid, "nice", "must be 0 or left out: the policy has no nice values")
        }
    }

    private static func flags(_ reader: ObjectReader) -> UInt64 {
        var bits: UInt64 = 0
        _ = reader.strings("flags") { text in
            if text == "SCHED_FLAG_UTIL_CLAMP_MIN" || text == "SCHED_FLAG_UTIL_CLAMP_MAX" {
                return "\(text) is not honoured: the runtime-spec has no value for the clamp, and a VM no frequency to choose"
            }
            guard let flag = flagBits.first(where: { $0.word == text }) else {
                return "expected a flag such as \"SCHED_FLAG_RESET_ON_FORK\", found \(quoted(text))"
            }
            bits |= flag.value
            return nil
        }
        return bits
    }

    /// `runtime`, `deadline` and `period`, within the kernel's bounds: it would answer EINVAL to all that is wrong here.
    private mutating func readDeadline(_ reader: ObjectReader) {
        guard policy == .deadline else {
            for name in ["runtime", "deadline", "period"] {
                if let value = reader.value(name), value != .integer(0) {
                    reader.report(.invalid, name, "must be 0 or left out: only SCHED_DEADLINE has it")
                }
            }
            return
        }
        // The shortest runtime is 2^DL_SCALE ns; periods lie within sched_deadline_period_min_us and …_max_us.
        let longest: Int64 = 4_194_304_000
        reader.require("runtime", "nanoseconds of each period")
        reader.require("deadline", "nanoseconds")
        let runtime = reader.integer("runtime", 1024...longest)
        let deadline = reader.integer("deadline", 1024...longest)
        var period = reader.integer("period", 0...longest)
        if period == 0 { period = nil }
        self.runtime = UInt64(clamping: runtime ?? 0)
        self.deadline = UInt64(clamping: deadline ?? 0)
        self.period = UInt64(clamping: period ?? 0)
        if let runtime, let deadline, runtime > deadline {
            reader.report(.invalid, "runtime", "must not be above deadline: \(runtime) is above \(deadline)")
        }
        if let deadline, let period, deadline > period {
            reader.report(.invalid, "deadline", "must not be above period: \(deadline) is above \(period)")
        }
        let name = period == nil ? "deadline" : "period"
        if let length = period ?? deadline, length < 100_000 {
            reader.report(.invalid, name, "expected a period of at least 100000 nanoseconds, found \(length)")
        }
    }
}

extension ExecCPUAffinity {
    static func read(_ reader: ObjectReader) -> ExecCPUAffinity? {
        var affinity = ExecCPUAffinity()
        affinity.initial = list(reader, "initial")
        affinity.final = list(reader, "final")
        reader.warnOfUnknown(["initial", "final"])
        return affinity == ExecCPUAffinity() ? nil : affinity
    }

    private static func list(_ reader: ObjectReader, _ name: String) -> CPUList? {
        guard let text = reader.string(name), !text.isEmpty else { return nil }
        if let list = CPUList(text) { return list }
        let expected = "CPUs below \(CPUList.limit) and ranges of them such as \"0-3,7\""
        reader.report(.invalid, name, "expected \(expected), found \(quoted(text))")
        return nil
    }
}
