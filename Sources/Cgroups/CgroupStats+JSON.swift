public import SessionLog

extension CgroupStats {
    /// One JSON object (docs/resources.md, "Stats"). What the kernel does not measure is left out.
    public var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    /// The object as a value inside another text.
    public func write(to writer: inout JSONWriter) {
        writer.beginObject()
        if let cpu { cpu.write(to: &writer) }
        if let memory { memory.write(to: &writer) }
        if let tasks {
            writer.key("pids")
            writer.beginObject()
            writer.member("current", tasks.current)
            writer.member("limit", tasks.limit)
            writer.member("refused", tasks.refused)
            writer.endObject()
        }
        if let devices { CgroupStats.write(devices, to: &writer) }
        if cpuPressure != nil || memoryPressure != nil || ioPressure != nil {
            writer.key("pressure")
            writer.beginObject()
            cpuPressure?.write("cpu", to: &writer)
            memoryPressure?.write("memory", to: &writer)
            ioPressure?.write("io", to: &writer)
            writer.endObject()
        }
        writer.endObject()
    }

    private static func write(_ devices: [Device], to writer: inout JSONWriter) {
        writer.key("io")
        writer.beginArray()
        for device in devices {
            writer.beginObject()
            writer.member("device", device.device)
            writer.member("readBytes", device.readBytes)
            writer.member("writtenBytes", device.writtenBytes)
            writer.member("reads", device.reads)
            writer.member("writes", device.writes)
            writer.member("discardedBytes", device.discardedBytes)
            writer.member("discards", device.discards)
            writer.endObject()
        }
        writer.endArray()
    }
}

extension CgroupStats.CPU {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.key("cpu")
        writer.beginObject()
        writer.member("usageMicroseconds", usage)
        writer.member("userMicroseconds", user)
        writer.member("systemMicroseconds", system)
        writer.member("periods", periods)
        writer.member("throttledPeriods", throttledPeriods)
        writer.member("throttledMicroseconds", throttled)
        writer.endObject()
    }
}

extension CgroupStats.Memory {
    fileprivate func write(to writer: inout JSONWriter) {
        writer.key("memory")
        writer.beginObject()
        writer.member("currentBytes", current)
        writer.member("peakBytes", peak)
        writer.member("limitBytes", limit)
        writer.member("swapBytes", swap)
        writer.member("anonymousBytes", anonymous)
        writer.member("fileBytes", file)
        writer.member("inactiveFileBytes", inactiveFile)
        writer.member("kernelBytes", kernel)
        writer.key("events")
        writer.beginObject()
        writer.member("low", events.low)
        writer.member("high", events.high)
        writer.member("max", events.max)
        writer.member("oom", events.oom)
        writer.member("oomKill", events.oomKill)
        writer.member("oomGroupKill", events.oomGroupKill)
        writer.endObject()
        writer.endObject()
    }
}

extension CgroupStats.Pressure {
    fileprivate func write(_ name: String, to writer: inout JSONWriter) {
        writer.key(name)
        writer.beginObject()
        some.write("some", to: &writer)
        full?.write("full", to: &writer)
        writer.endObject()
    }
}

extension CgroupStats.Stall {
    fileprivate func write(_ name: String, to writer: inout JSONWriter) {
        writer.key(name)
        writer.beginObject()
        writer.key("average10Percent")
        // Hundredths as thousandths; a percentage is far from the end of the range.
        writer.thousandths(Int64(min(average10, 1_000_000) &* 10))
        writer.member("totalMicroseconds", total)
        writer.endObject()
    }
}

extension JSONWriter {
    /// Nothing for nil.
    fileprivate mutating func member(_ name: String, _ value: UInt64?) {
        guard let value else { return }
        key(name)
        integer(value)
    }
}
