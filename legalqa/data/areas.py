"""The area of law that a question is about, guessed from its words. Good enough to see what a data set holds."""

import pandas as pd
from tqdm import tqdm

from legalqa.data.cells import TEXT, matches

# The first area that matches wins, so the narrow ones stand before the wide ones.
AREAS: dict[str, str] = {
    "inheritance": r"继承|遗嘱|遗产|遗赠|过世|去世后",
    "labour": (
        r"劳动|工资|工伤|辞退|离职|辞职|加班|社保|试用期|用人单位|竞业|裁员|仲裁委|公积金|入职|员工|旷工|产假"
        r"|老板拖欠|养老保险|失业|退休|工龄|[年婚]假|生育险|工厂|厂里|包工头"
    ),
    "marriage": (
        r"离婚|结婚|彩礼|婚姻|夫妻|老公|老婆|丈夫|妻子|抚养|婚前|婚后|家暴|同居|抚育费|出轨|前夫|前妻|监护|相亲"
        r"|恋爱|男方|女方|未婚|重婚|二婚|扶养|赡养|公公|婆婆|撫養|二胎|三胎"
    ),
    "traffic": r"交通事故|车祸|肇事|交警|酒驾|醉驾|驾驶证|追尾|闯红灯|交强险|撞(?:了|到|伤|死|人|上)|全责",
    "medical": r"医院|医生|手术|病历|诊所|牙科|医疗|医美|美容院|误诊",
    "criminal": (
        r"判刑|刑事|刑法|犯罪|盗窃|诈骗|拘留|逮捕|取保|缓刑|故意伤害|有期徒刑|轻伤|看守所|贩毒|抢劫|量刑|公诉|罪"
        r"|坐牢|自首|强奸|赌博|谅解书|偷了?|集资|帮信|传销|吸毒|戒毒|销赃|赃物|被骗|骗子|聚众"
    ),
    "intellectual_property": r"商标|专利|著作权|录音录像制作|表演者|邻接权|版权|知识产权|作品|抄袭|抄了|原作|署名|山寨",
    "data": r"个人信息|隐私|数据|泄露|人脸|照片|换脸|通讯录|账号|声音|打码",
    "lease_property": (
        r"租房|租赁|房东|租客|押金|承租|出租|合租|物业|业委会|业主|房产|房屋|购房|买房|开发商|楼盘|房贷|宅基地|拆迁"
        r"|强拆|征地|土地|过户|产权|邻居|漏水|相邻|楼上|楼下|小区|房子|商铺|居住权|承包地|安置"
    ),
    "debt": (
        r"借(?:了?我|给|走)|借[^，。]{0,6}[钱万]|留置|质押|质权|抵押|保理|回购|利滚利|复利|借款|欠款|借条|欠条|借钱"
        r"|还款|贷款|利息|债务|债权|担保|保证人|信用卡|网贷|欠钱|欠了|转账"
    ),
    "consumer": (
        r"消费者|网购|退货|退款|假货|商家|店家|淘宝|三倍赔偿|退一赔三|十倍|保修|售后|食品|预付卡|健身房|超市|商场"
        r"|网店|卖家|二手|会员|充值|打赏|平台|饭店|培训班|过期|保险|机票|航班|高铁|旅行社|旅游|快递|订单|概不退换"
        r"|退钱"
    ),
    "education": r"学校|老师|学生|幼儿园|同学|教辅|校园|大学",
    "injury": r"侵权|人身损害|打伤|摔|赔偿|受伤|伤残|咬|砸|名誉|肖像|人格权|姓名权|隐私权|保管物|造谣|诽谤|烫伤",
    "company": r"公司|股东|股权|企业|法定代表人|注册资本|破产|合伙|营业执照|清算|个体户",
    "administrative": r"行政|派出所|公安|民警|警察|城管|补贴|护照|治安|罚款|户口|户籍|信访|信息公开|举报|投诉|许可",
    "contract": (
        r"合同|协议|违约|定金|订金|解除|转让|加盟|买卖|承包|工程款|货款|赠与|赠送|承揽|定作|仓储|保管人|寄存|行纪"
        r"|委托合同|买受|出卖人|押一付"
    ),
    "procedure": r"起诉|诉讼|法院|立案|上诉|执行|管辖|开庭|证据|判决|传票|律师费|仲裁|公证",
}
OTHER = "other"


def areas(prompts: pd.Series) -> pd.Series:
    """The area of each prompt."""
    found = pd.Series(OTHER, index=prompts.index, dtype=TEXT)
    left = prompts
    for name, pattern in tqdm(AREAS.items(), desc="areas of law", unit=" areas", delay=2, disable=None):
        hit = matches(left, pattern)
        found.loc[left.index[hit]] = name
        left = left[~hit]
    return found
