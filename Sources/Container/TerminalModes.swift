import CLinux
import CSpawn
import ContainerSpec

/// What becomes of SSH's modes (RFC 4254, section 8) on a terminal of Linux (termios(3)).
///
/// The flags of a real line, its character size and parity, mean nothing to a pseudo-terminal, which always has eight bits.
extension TerminalSettings {
    /// The changes for the child, which makes them before anything is executed.
    var changes: cspawn_modes {
        var changes = cspawn_modes()
        for mode in modes {
            let isOn = mode.value != 0
            if let place = TerminalSettings.character(mode.opcode) {
                // 255 is no character.
                let character = mode.value < 255 ? UInt8(clamping: mode.value) : 0
                withUnsafeMutableBytes(of: &changes.characters) { if place < $0.count { $0[place] = character } }
                withUnsafeMutableBytes(of: &changes.has_character) { if place < $0.count { $0[place] = 1 } }
            } else if let flag = TerminalSettings.inputFlag(mode.opcode) {
                changes.input.turn(flag, isOn)
            } else if let flag = TerminalSettings.localFlag(mode.opcode) {
                changes.local.turn(flag, isOn)
            } else if let flag = TerminalSettings.outputFlag(mode.opcode) {
                changes.output.turn(flag, isOn)
            } else if mode.opcode == 128 {
                changes.input_speed = TerminalSettings.speed(mode.value)
            } else if mode.opcode == 129 {
                changes.output_speed = TerminalSettings.speed(mode.value)
            }
        }
        return changes
    }

    /// The place of a control character among the terminal's.
    private static func character(_ opcode: UInt8) -> Int? {
        let place: Int32? =
            switch opcode {
            case 1: VINTR
            case 2: VQUIT
            case 3: VERASE
            case 4: VKILL
            case 5: VEOF
            case 6: VEOL
            case 7: VEOL2
            case 8: VSTART
            case 9: VSTOP
            case 10: VSUSP
            case 12: VREPRINT
            case 13: VWERASE
            case 14: VLNEXT
            case 16: VSWTC
            case 18: VDISCARD
            default: nil
            }
        return place.map { Int($0) }
    }

    private static func inputFlag(_ opcode: UInt8) -> Int32? {
        switch opcode {
        case 30: IGNPAR
        case 31: PARMRK
        case 32: INPCK
        case 33: ISTRIP
        case 34: INLCR
        case 35: IGNCR
        case 36: ICRNL
        case 37: IUCLC
        case 38: IXON
        case 39: IXANY
        case 40: IXOFF
        case 41: IMAXBEL
        case 42: IUTF8
        default: nil
        }
    }

    private static func localFlag(_ opcode: UInt8) -> Int32? {
        switch opcode {
        case 50: ISIG
        case 51: ICANON
        case 52: XCASE
        case 53: ECHO
        case 54: ECHOE
        case 55: ECHOK
        case 56: ECHONL
        case 57: NOFLSH
        case 58: TOSTOP
        case 59: IEXTEN
        case 60: ECHOCTL
        case 61: ECHOKE
        case 62: PENDIN
        default: nil
        }
    }

    private static func outputFlag(_ opcode: UInt8) -> Int32? {
        switch opcode {
        case 70: OPOST
        case 71: OLCUC
        case 72: ONLCR
        case 73: OCRNL
        case 74: ONOCR
        case 75: ONLRET
        default: nil
        }
    }

    /// 0, as it is, where termios(3) has no name for the speed: a pseudo-terminal has none, and only shows it to programs.
    private static func speed(_ bitsPerSecond: UInt32) -> UInt32 {
        switch bitsPerSecond {
        case 1200: UInt32(B1200)
        case 2400: UInt32(B2400)
        case 4800: UInt32(B4800)
        case 9600: UInt32(B9600)
        case 19_200: UInt32(B19200)
        case 38_400: UInt32(B38400)
        case 57_600: UInt32(B57600)
        case 115_200: UInt32(B115200)
        default: 0
        }
    }
}

extension cspawn_flags {
    fileprivate mutating func turn(_ flag: Int32, _ isOn: Bool) {
        let flag = UInt32(bitPattern: flag)
        if isOn { set |= flag } else { cleared |= flag }
    }
}
