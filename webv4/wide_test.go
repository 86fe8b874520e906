package webv4_test

// seventy has more parameters than an interface can.
type seventy struct {
	_   struct{} `route:"GET /seventy"`
	F0  int      `query:"f0"`
	F1  int      `query:"f1"`
	F2  int      `query:"f2"`
	F3  int      `query:"f3"`
	F4  int      `query:"f4"`
	F5  int      `query:"f5"`
	F6  int      `query:"f6"`
	F7  int      `query:"f7"`
	F8  int      `query:"f8"`
	F9  int      `query:"f9"`
	F10 int      `query:"f10"`
	F11 int      `query:"f11"`
	F12 int      `query:"f12"`
	F13 int      `query:"f13"`
	F14 int      `query:"f14"`
	F15 int      `query:"f15"`
	F16 int      `query:"f16"`
	F17 int      `query:"f17"`
	F18 int      `query:"f18"`
	F19 int      `query:"f19"`
	F20 int      `query:"f20"`
	F21 int      `query:"f21"`
	F22 int      `query:"f22"`
	F23 int      `query:"f23"`
	F24 int      `query:"f24"`
	F25 int      `query:"f25"`
	F26 int      `query:"f26"`
	F27 int      `query:"f27"`
	F28 int      `query:"f28"`
	F29 int      `query:"f29"`
	F30 int      `query:"f30"`
	F31 int      `query:"f31"`
	F32 int      `query:"f32"`
	F33 int      `query:"f33"`
	F34 int      `query:"f34"`
	F35 int      `query:"f35"`
	F36 int      `query:"f36"`
	F37 int      `query:"f37"`
	F38 int      `query:"f38"`
	F39 int      `query:"f39"`
	F40 int      `query:"f40"`
	F41 int      `query:"f41"`
	F42 int      `query:"f42"`
	F43 int      `query:"f43"`
	F44 int      `query:"f44"`
	F45 int      `query:"f45"`
	F46 int      `query:"f46"`
	F47 int      `query:"f47"`
	F48 int      `query:"f48"`
	F49 int      `query:"f49"`
	F50 int      `query:"f50"`
	F51 int      `query:"f51"`
	F52 int      `query:"f52"`
	F53 int      `query:"f53"`
	F54 int      `query:"f54"`
	F55 int      `query:"f55"`
	F56 int      `query:"f56"`
	F57 int      `query:"f57"`
	F58 int      `query:"f58"`
	F59 int      `query:"f59"`
	F60 int      `query:"f60"`
	F61 int      `query:"f61"`
	F62 int      `query:"f62"`
	F63 int      `query:"f63"`
	F64 int      `query:"f64"`
	F65 int      `query:"f65"`
	F66 int      `query:"f66"`
	F67 int      `query:"f67"`
	F68 int      `query:"f68"`
	F69 int      `query:"f69"`
}

// wide is a body with many fields.
type wide struct {
	F0   int
	F1   int
	F2   int
	F3   int
	F4   int
	F5   int
	F6   int
	F7   int
	F8   int
	F9   int
	F10  int
	F11  int
	F12  int
	F13  int
	F14  int
	F15  int
	F16  int
	F17  int
	F18  int
	F19  int
	F20  int
	F21  int
	F22  int
	F23  int
	F24  int
	F25  int
	F26  int
	F27  int
	F28  int
	F29  int
	F30  int
	F31  int
	F32  int
	F33  int
	F34  int
	F35  int
	F36  int
	F37  int
	F38  int
	F39  int
	F40  int
	F41  int
	F42  int
	F43  int
	F44  int
	F45  int
	F46  int
	F47  int
	F48  int
	F49  int
	F50  int
	F51  int
	F52  int
	F53  int
	F54  int
	F55  int
	F56  int
	F57  int
	F58  int
	F59  int
	F60  int
	F61  int
	F62  int
	F63  int
	F64  int
	F65  int
	F66  int
	F67  int
	F68  int
	F69  int
	F70  int
	F71  int
	F72  int
	F73  int
	F74  int
	F75  int
	F76  int
	F77  int
	F78  int
	F79  int
	F80  int
	F81  int
	F82  int
	F83  int
	F84  int
	F85  int
	F86  int
	F87  int
	F88  int
	F89  int
	F90  int
	F91  int
	F92  int
	F93  int
	F94  int
	F95  int
	F96  int
	F97  int
	F98  int
	F99  int
	F100 int
	F101 int
	F102 int
	F103 int
	F104 int
	F105 int
	F106 int
	F107 int
	F108 int
	F109 int
	F110 int
	F111 int
	F112 int
	F113 int
	F114 int
	F115 int
	F116 int
	F117 int
	F118 int
	F119 int
	F120 int
	F121 int
	F122 int
	F123 int
	F124 int
	F125 int
	F126 int
	F127 int
	F128 int
	F129 int
	F130 int
	F131 int
	F132 int
	F133 int
	F134 int
	F135 int
	F136 int
	F137 int
	F138 int
	F139 int
	F140 int
	F141 int
	F142 int
	F143 int
	F144 int
	F145 int
	F146 int
	F147 int
	F148 int
	F149 int
	F150 int
	F151 int
	F152 int
	F153 int
	F154 int
	F155 int
	F156 int
	F157 int
	F158 int
	F159 int
	F160 int
	F161 int
	F162 int
	F163 int
	F164 int
	F165 int
	F166 int
	F167 int
	F168 int
	F169 int
	F170 int
	F171 int
	F172 int
	F173 int
	F174 int
	F175 int
	F176 int
	F177 int
	F178 int
	F179 int
	F180 int
	F181 int
	F182 int
	F183 int
	F184 int
	F185 int
	F186 int
	F187 int
	F188 int
	F189 int
	F190 int
	F191 int
	F192 int
	F193 int
	F194 int
	F195 int
	F196 int
	F197 int
	F198 int
	F199 int `required:"true"`
}
