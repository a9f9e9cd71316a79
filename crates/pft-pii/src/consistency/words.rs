//! Words that are no names, or no part of one.

/// Words that begin sentences, name offices, or are as common as they are surnames.
pub(super) const STOP_WORDS: &str = "\
a an and are as at be been but by can did do for from had has have he her his i if in is it its may me more most \
mr mrs ms miss dr prof sir lord lady judge justice no not of on one or our she so than that the their them there they \
this those to us was we were what when where which who will with would you your also any both each few many other same some such \
january february march april may june july august september october november december jan feb mar apr jun jul aug sep oct nov dec \
monday tuesday wednesday thursday friday saturday sunday north south east west northern southern eastern western \
court courts supreme district regional administrative constitutional appeal appeals high federal state public prosecutor \
government governor minister ministry police president chairman director manager secretary agent counsel lawyer \
applicant applicants company convention article section chapter law act code protocol rule rules paragraph facts case judgment \
national international european general special central local civil criminal military social security office officer commission committee council \
city town village street road university school college hospital prison bank church house village union party press \
best brown black white green gray grey young long short small little good new old big king bush hill wood woods field price rich day may june \
grant mark bill will art rose hope faith grace joy page ward stone rock bell cook baker smart sharp strong power energy gas oil market trade \
turkish polish austrian german french swedish norwegian swiss english british american russian italian greek spanish dutch irish \
date subject from sent cc bcc re fw fwd please thanks regards sincerely dear hello hi call meeting group team report time today tomorrow yesterday";

/// What may stand before a name.
pub(super) const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "messrs",
    "mister",
    "dr",
    "prof",
    "professor",
    "doctor",
    "sir",
    "dame",
    "lady",
    "lord",
    "judge",
    "justice",
    "mme",
    "mlle",
    "maître",
    "herr",
    "frau",
    "and",
    "captain",
    "capt",
    "lieutenant",
    "sergeant",
    "colonel",
    "major",
    "general",
    "father",
    "sister",
    "brother",
    "rev",
    "reverend",
    "bishop",
    "imam",
    "sheikh",
];

/// Small words within names.
pub(super) const PARTICLES: &[&str] = &[
    "van", "von", "der", "den", "de", "du", "des", "la", "le", "di", "da", "del", "della", "dos",
    "das", "el", "al", "bin", "ibn", "ter", "ten", "zu", "zum", "zur", "af", "av", "y", "e", "i",
    "do",
];
