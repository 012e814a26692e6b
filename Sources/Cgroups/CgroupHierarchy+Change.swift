/// Changing the limits of a container that runs.
extension CgroupHierarchy {
    /// Limits the container anew: what the plan before set and this one does not is lifted.
    ///
    /// A limit on memory that is already exceeded is refused: the kernel would reclaim and kill inside write(2), for as long as that
    /// takes.
    /// - Throws: ``CgroupError``, naming file, value and property; then the limits are as they were.
    public func change(to plan: ResourcePlan) throws(CgroupError) {
        let before = applied ?? ResourcePlan.none
        let changes = try ResourcePlan.changes(from: before, to: plan)
        for write in changes { try checkUse(write) }
        do throws(CgroupError) {
            for write in changes { try apply(write, to: container) }
        } catch {
            // What had been written is taken back. What cannot be was not written, in all likelihood.
            for write in (try? ResourcePlan.changes(from: plan, to: before)) ?? [] { try? apply(write, to: container) }
            throw error
        }
        applied = plan
        // The kernel holds the container to its limits from here on; this is what programs in it look at.
        guard let containerRoot else { return }
        for write in changes where ResourcePlan.visibleFiles.contains(write.file) { try? apply(write, to: containerRoot) }
    }

    private func checkUse(_ write: CgroupWrite) throws(CgroupError) {
        let usage: String
        switch write.file {
        case "memory.max", "memory.high": usage = "memory.current"
        case "memory.swap.max", "memory.swap.high": usage = "memory.swap.current"
        case "memory.reclaim": throw CgroupError("change", write.property, "memory is not reclaimed while the container runs")
        default: return
        }
        guard let limit = ResourcePlan.limit(write.value), let used = try container.readIfPresent(usage).flatMap({ CgroupFile.single($0) }),
            used > limit
        else { return }
        let property = write.property.isEmpty ? write.file : write.property
        throw CgroupError("lower", property, "\(used) bytes are in use, and \(limit) would be the limit")
    }
}

extension ResourcePlan {
    /// The writes that make a group limited by `before` one limited by `after`, in their order.
    /// - Throws: ``CgroupError`` for a raw file whose usual value is not known here.
    static func changes(from before: ResourcePlan, to after: ResourcePlan) throws(CgroupError) -> [CgroupWrite] {
        var changes: [CgroupWrite] = []
        let old = before.effective
        let new = after.effective
        var lifted: [String] = []
        for write in old.reversed() {
            let same = new.first { $0.key == write.key }
            // The kernel takes no quota below the burst, and no weight while the group is idle.
            let isInTheWay = write.file == "cpu.max.burst" || write.file == "cpu.idle"
            if same == nil || isInTheWay && new.filter({ $0.controller == "cpu" }) != old.filter({ $0.controller == "cpu" }) {
                changes.append(try write.lifted())
                lifted.append(write.key)
            }
        }
        for write in new where lifted.contains(write.key) || !old.contains(where: { $0.key == write.key && $0.value == write.value }) {
            changes.append(write)
        }
        return changes
    }

    /// The writes that count: of several to one place the last, at that one's position.
    private var effective: [CgroupWrite] {
        writes.indices.filter { index in !writes[(index + 1)...].contains { $0.key == writes[index].key } }.map { writes[$0] }
    }
}

extension CgroupWrite {
    /// The file, and what of it the write sets: of "8:0 rbps=100" in io.max "io.max 8:0 rbps".
    fileprivate var key: String {
        guard let device else { return file }
        return file + " " + device + parameters.reduce("") { $0 + " " + $1 }
    }

    /// "8:0" of "8:0 rbps=100".
    private var device: String? {
        let words = value.utf8.split(separator: 0x20)
        guard words.count > 1, words[0].contains(UInt8(ascii: ":")) else { return nil }
        return String(Substring(words[0]))
    }

    /// "rbps" of "8:0 rbps=100"
    private var parameters: [String] {
        value.utf8.split(separator: 0x20).dropFirst().filter { $0.contains(UInt8(ascii: "=")) }.map {
            String(Substring($0.prefix { $0 != UInt8(ascii: "=") }))
        }
    }

    /// The write that lifts what this one sets: to what the kernel gives a new group.
    fileprivate func lifted() throws(CgroupError) -> CgroupWrite {
        guard let usual = usual(file) else {
            throw CgroupError("change", property, "it holds until the VM's next boot: its usual value is not known")
        }
        var result = self
        result.value = usual
        if case .file(let other, _) = alternative, let usual = self.usual(other) { result.alternative = .file(other, value: usual) }
        return result
    }

    private func usual(_ file: String) -> String? {
        switch file {
        case "memory.low", "memory.min", "memory.oom.group", "cpu.idle", "cpu.max.burst", "cpu.weight.nice": return "0"
        case "memory.max", "memory.high", "memory.swap.max", "memory.swap.high", "memory.zswap.max", "pids.max": return "max"
        case "cpu.weight": return "100"
        case "cpu.max": return "max 100000"
        // An empty line: those of the group above.
        case "cpuset.cpus", "cpuset.mems": return "\n"
        case "io.weight", "io.bfq.weight": return device.map { $0 + " default" } ?? "default 100"
        case "io.max": return device.map { device in device + parameters.reduce("") { $0 + " " + $1 + "=max" } }
        default: return file.hasPrefix("hugetlb.") && file.hasSuffix(".max") ? "max" : nil
        }
    }
}
