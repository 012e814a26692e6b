extension ContainerResources {
    /// The most rules for devices. Each becomes at most seven instructions of a program; what bounds them is the time that the kernel takes
    /// to check it, which grows with their square and is spent inside bpf(2).
    public static let deviceRuleLimit = 128

    /// The bound on any other list of `linux.resources`.
    fileprivate static let limit = 256

    init(_ reader: ObjectReader) {
        self.init()
        devices = (reader.objects("devices", limit: ContainerResources.deviceRuleLimit) ?? []).map { DeviceRule($0) }
        if let object = reader.object("memory") { memory = MemoryResources(object) }
        if let object = reader.object("cpu") { cpu = CPUResources(object) }
        if let object = reader.object("pids") {
            pidsLimit = object.integer("limit", -1...Int64.max)
            if !object.members.isEmpty { object.require("limit", "how many tasks there may be, -1 for any number") }
            object.warnOfUnknown(["limit"])
        }
        if let object = reader.object("blockIO") { blockIO = BlockIOResources(object) }
        for entry in reader.objects("hugepageLimits", limit: 64) ?? [] {
            guard let limit = HugepageLimit.read(entry) else { continue }
            if hugepageLimits.contains(where: { $0.pageSize == limit.pageSize }) {
                entry.report(.invalid, "pageSize", "pages of \(limit.pageSize) are limited twice")
            }
            hugepageLimits.append(limit)
        }
        if let object = reader.object("unified") { unified = ContainerResources.unified(object) }
        reader.refuse(["network"], "not honoured: cgroup v2, which the container has, cannot mark or order packets")
        reader.refuse(["rdma"], "not honoured: tether drives no RDMA device")
        reader.warnOfUnknown(["devices", "memory", "cpu", "pids", "blockIO", "hugepageLimits", "unified", "network", "rdma"])
    }

    /// `unified`: any file of a controller's, and of the cgroup's own only those that limit what is below it. The others say who is in
    /// the container and whether it runs, which is PID 1's to say.
    private static func unified(_ reader: ObjectReader) -> [KeyValue] {
        guard reader.members.count <= limit else {
            reader.issues.report(.invalid, reader.path, "expected at most \(limit) files, found \(reader.members.count)")
            return []
        }
        let files = reader.keyValues()
        for file in files {
            let name = file.key
            let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            if !isPlainName(name, limit: 255) || parts.count < 2 || parts.contains(where: { $0.isEmpty }) {
                reader.report(.invalid, name, "expected a file of a cgroup v2 controller such as \"memory.high\"")
            } else if name.hasPrefix("cgroup."), name != "cgroup.max.depth", name != "cgroup.max.descendants" {
                reader.report(.unsupported, name, "not honoured: the file says which processes run, which is up to tether")
            } else if file.value.isEmpty || file.value.utf8.count >= 4096 || file.value.utf8.contains(0) {
                reader.report(.invalid, name, "expected a value of 1 to 4095 bytes without NUL")
            }
        }
        return files
    }
}

extension ObjectReader {
    /// An integer in `range`; 0 is as good as absent, as it is for runc.
    fileprivate func nonzero(_ name: String, _ range: ClosedRange<Int64>) -> Int64? {
        if case .integer(0) = value(name) { return nil }
        return integer(name, range)
    }

    /// A limit in bytes, -1 for none.
    fileprivate func bytes(_ name: String) -> Int64? { nonzero(name, -1...Int64.max) }

    /// Whether the member `name` says nothing, by absence or by 0.
    fileprivate func isUnset(_ name: String) -> Bool {
        guard let value = value(name) else { return true }
        return value == .integer(0)
    }

    /// Refuses what cgroup v2 has no equal for, except where it asks for nothing: 0, or -1 for a limit.
    fileprivate func refuseNumbers(_ names: [String], _ reason: String) {
        for name in names {
            if let value = value(name), value != .integer(0), value != .integer(-1), !value.asksForNothing {
                report(.unsupported, name, reason)
            }
        }
    }

    /// A list of CPUs or memory nodes, as it is written; nil for "", which restricts nothing.
    fileprivate func numbers(_ name: String) -> String? {
        guard let text = string(name), !text.isEmpty else { return nil }
        if CPUList(text) == nil { report(.invalid, name, "expected numbers and ranges such as \"0-3,7\", found \(quoted(text))") }
        return text
    }

    /// `major` and `minor`, both required.
    fileprivate func deviceNumbers() -> (major: UInt32, minor: UInt32)? {
        require("major", "the device's major number")
        require("minor", "the device's minor number")
        guard let major = integer32("major", 0...4095), let minor = integer32("minor", 0...1_048_575) else { return nil }
        return (major, minor)
    }

    /// A list `throttle…Device`.
    fileprivate func rates(_ name: String) -> [DeviceRate] {
        (objects(name, limit: ContainerResources.limit) ?? []).compactMap { entry in
            entry.warnOfUnknown(["major", "minor", "rate"])
            entry.require("rate", "how much a second")
            let rate = entry.unsigned("rate")
            guard let device = entry.deviceNumbers(), let rate else { return nil }
            return DeviceRate(major: device.major, minor: device.minor, rate: rate)
        }
    }
}

extension MemoryResources {
    fileprivate init(_ reader: ObjectReader) {
        self.init()
        limit = reader.bytes("limit")
        reservation = reader.bytes("reservation")
        swap = reader.bytes("swap")
        if let swap, swap >= 0 {
            // It counts memory and swap together, so without a bound for memory there is none for swap that it could mean.
            if let limit {
                if limit < 0 { reader.report(.invalid, "swap", "must be -1 where limit is") }
                if limit > swap {
                    reader.report(.invalid, "swap", "is memory and swap together, so not below limit: \(swap) is below \(limit)")
                }
            } else if reader.isUnset("limit") {
                reader.report(.invalid, "swap", "is memory and swap together, and needs limit")
            }
        }
        reader.refuseNumbers(["kernel", "kernelTCP"], "not honoured: cgroup v2 counts the kernel's memory into limit")
        reader.refuse(["swappiness"], "not honoured: cgroup v2 has no swappiness of its own")
        reader.refuse(["disableOOMKiller"], "not honoured: cgroup v2 always kills when memory is out")
        // v2 is always hierarchical, and there is no usage before the limit is set.
        _ = reader.bool("checkBeforeUpdate")
        if reader.bool("useHierarchy") == false { reader.report(.unsupported, "useHierarchy", "not honoured: cgroup v2 always uses it") }
        reader.warnOfUnknown([
            "limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller", "checkBeforeUpdate", "useHierarchy",
        ])
    }
}

extension CPUResources {
    fileprivate init(_ reader: ObjectReader) {
        self.init()
        shares = reader.nonzero("shares", 2...262_144).map { UInt64(clamping: $0) }
        if let number = reader.nonzero("quota", -1...Int64.max) {
            quota = number
            // The kernel's bounds on both (min_cfs_quota_period, max_cfs_quota_period).
            if number > 0 && number < 1000 {
                reader.report(.invalid, "quota", "expected -1 or at least 1000 microseconds, found \(number)")
            }
        }
        period = reader.nonzero("period", 1000...1_000_000).map { UInt64(clamping: $0) }
        if let number = reader.nonzero("burst", 0...Int64.max) {
            burst = UInt64(clamping: number)
            if let quota, quota > 0 {
                if number > quota { reader.report(.invalid, "burst", "must not be above quota: \(number) is above \(quota)") }
            } else if quota != nil || reader.isUnset("quota") {
                reader.report(.invalid, "burst", "needs a quota")
            }
        }
        idle = reader.integer("idle", 0...1)
        cpus = reader.numbers("cpus")
        mems = reader.numbers("mems")
        reader.refuseNumbers(["realtimeRuntime", "realtimePeriod"], "not honoured: cgroup v2 does not ration real-time processes")
        reader.warnOfUnknown([
            "shares", "quota", "period", "burst", "idle", "cpus", "mems", "realtimeRuntime", "realtimePeriod",
        ])
    }
}

extension BlockIOResources {
    private static let leafWeight = "not honoured: cgroup v2 has no leaf weights"

    fileprivate init(_ reader: ObjectReader) {
        self.init()
        weight = reader.nonzero("weight", 10...1000).map { UInt16(clamping: $0) }
        for entry in reader.objects("weightDevice", limit: ContainerResources.limit) ?? [] {
            entry.warnOfUnknown(["major", "minor", "weight", "leafWeight"])
            entry.refuseNumbers(["leafWeight"], BlockIOResources.leafWeight)
            entry.require("weight", "the device's weight")
            let weight = entry.integer("weight", 10...1000)
            guard let device = entry.deviceNumbers(), let weight else { continue }
            weightDevices.append(DeviceWeight(major: device.major, minor: device.minor, weight: UInt16(clamping: weight)))
        }
        throttleReadBytes = reader.rates("throttleReadBpsDevice")
        throttleWriteBytes = reader.rates("throttleWriteBpsDevice")
        throttleReadOperations = reader.rates("throttleReadIOPSDevice")
        throttleWriteOperations = reader.rates("throttleWriteIOPSDevice")
        reader.refuseNumbers(["leafWeight"], BlockIOResources.leafWeight)
        reader.warnOfUnknown([
            "weight", "leafWeight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
            "throttleWriteIOPSDevice",
        ])
    }
}

extension HugepageLimit {
    fileprivate static func read(_ reader: ObjectReader) -> HugepageLimit? {
        reader.warnOfUnknown(["pageSize", "limit"])
        reader.require("pageSize", "a size such as \"2MB\"")
        reader.require("limit", "how many bytes of such pages there may be")
        let limit = reader.unsigned("limit")
        guard let size = reader.string("pageSize") else { return nil }
        let digits = size.utf8.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        let unit = size.utf8.dropFirst(digits.count)
        // The name in hugetlb.2MB.max.
        guard (1...9).contains(digits.count), digits.first != UInt8(ascii: "0"),
            unit.elementsEqual("KB".utf8) || unit.elementsEqual("MB".utf8) || unit.elementsEqual("GB".utf8)
        else {
            reader.report(.invalid, "pageSize", "expected a size in KB, MB or GB such as \"2MB\", found \(quoted(size))")
            return nil
        }
        return limit.map { HugepageLimit(pageSize: size, limit: $0) }
    }
}

extension DeviceRule {
    fileprivate init(_ reader: ObjectReader) {
        self.init(allow: reader.bool("allow") ?? false)
        reader.require("allow", "whether the devices may be used, or may not")
        kind = reader.choice("type", [("a", Kind.all), ("c", .character), ("b", .block)]) ?? .all
        major = DeviceRule.number(reader, "major", 4095)
        minor = DeviceRule.number(reader, "minor", 1_048_575)
        if let access = reader.string("access"), !access.isEmpty {
            read = access.utf8.contains(UInt8(ascii: "r"))
            write = access.utf8.contains(UInt8(ascii: "w"))
            make = access.utf8.contains(UInt8(ascii: "m"))
            if !access.utf8.allSatisfy({ $0 == UInt8(ascii: "r") || $0 == UInt8(ascii: "w") || $0 == UInt8(ascii: "m") }) {
                reader.report(.invalid, "access", "expected letters of \"rwm\", found \(quoted(access))")
            }
        }
        reader.warnOfUnknown(["allow", "type", "major", "minor", "access"])
    }

    /// nil for -1 too, which stands for every number.
    private static func number(_ reader: ObjectReader, _ name: String, _ highest: Int64) -> UInt32? {
        guard let number = reader.integer(name, -1...highest), number >= 0 else { return nil }
        return UInt32(clamping: number)
    }
}
