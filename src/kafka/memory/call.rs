/// One of the port's calls, for counting and for failing on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    DescribeCluster,
    DescribeTopics,
    CreateTopics,
    CreatePartitions,
    AlterConfigs,
    DeleteTopics,
    ConsumingGroups,
    DescribeAcls,
    CreateAcls,
    DeleteAcls,
    DescribeScramUsers,
    UpsertScramUsers,
    DeleteScramUsers,
    CheckLogins,
}
