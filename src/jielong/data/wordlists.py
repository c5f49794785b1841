"""Small word lists of our own for the filters: harm, advertising and site boilerplate, in English and Chinese.

A page is judged by how many *different* entries it holds, never by one: a dictionary may explain any word, a news report may
use several. English entries match whole words in lower case; Chinese ones match anywhere.
"""

from __future__ import annotations


def entries(block: str) -> tuple[str, ...]:
    """Split a block of text at its vertical bars into entries."""
    return tuple(entry.strip() for entry in block.split("|") if entry.strip())


HARM = {
    "en": entries(
        """
        kill yourself|kill them all|deserve to die|how to hurt people|make a bomb|pipe bomb|homemade explosives|build a weapon|
        untraceable gun|hire a hitman|poison someone|without getting caught|ethnic cleansing|inferior race|subhuman|vermin who|
        hate those people|drive them out|buy cocaine|buy heroin|buy meth|cook meth|drugs without prescription|stolen credit cards|
        stolen credit card|fake passport|fake passports|counterfeit money|launder money|hack into accounts|steal passwords|
        xxx videos|hardcore porn|free porn|nude cams|live sex|hot nude girls|sex tape|escort girls|adults only videos|
        self harm tips|how to starve yourself|worthless people|beat them up|burn their houses|they are all criminals
        """
    ),
    "zh": entries(
        """
        制作炸弹|自制炸药|土制炸弹|购买枪支|出售枪支|雇凶|杀手服务|下毒方法|不会被抓|不被发现地伤害|去死吧|都该死|滚出去|劣等民族|
        低等人种|种族清洗|害虫一样的人|出售冰毒|购买海洛因|迷药|迷奸|大麻出售|无需处方|盗刷信用卡|信用卡盗号|办假证|假护照|代开发票|
        假钞|洗钱渠道|盗取密码|入侵账号|色情视频|成人视频|裸聊|约炮|性爱直播|激情视频|无码|援交|自杀方法|自残技巧|教训他们一顿|烧掉他们的房子|
        网络赌博|百家乐|六合彩|时时彩|赌场开户|他们全是罪犯|没用的人
        """
    ),
}

ADVERTISING = {
    "en": entries(
        """
        buy now|order now|order today|shop now|act now|call now|click here|free shipping|limited time|limited offer|special offer|
        best price|lowest price|lowest prices|money back|satisfaction guaranteed|risk free|discount code|coupon code|sale ends|
        percent off|save up to|while stocks last|while supplies last|hurry|add to cart|free trial|sign up today|no obligation|
        exclusive deal|exclusive deals|cheap flights|cheap hotels|book now|earn money|make money fast|work from home|winner|
        guaranteed results|miracle|lose weight|subscribe now|unbeatable|best deals|online casino|bonus
        """
    ),
    "zh": entries(
        """
        立即购买|马上购买|立即下单|抢购|限时|特价|包邮|优惠券|优惠码|打折|折扣|满减|低至|秒杀|清仓|促销|点击这里|点击购买|点击领取|免费领取|
        加微信|扫码|热线|咨询电话|欢迎来电|货到付款|无效退款|不满意退款|最低价|超值|大酬宾|赚钱|日入|月入|兼职|稳赚|减肥|特效|中奖|名额有限|
        先到先得|数量有限|加入购物车|免费试用|官方正品|厂家直销|全网最低|立即注册|送红包|返现
        """
    ),
}

BOILERPLATE = {
    "en": entries(
        """
        all rights reserved|privacy policy|terms of use|terms of service|terms and conditions|cookie policy|use of cookies|uses cookies|
        this website|this site|personal data|your data|third parties|your browser|enable javascript|page not found|404|
        the page you requested|the page you are looking for|has been moved|under construction|log in|sign in|forgot your password|
        create an account|your account|session has expired|access denied|contact us|liability|we reserve the right|
        your consent|unsubscribe|please try again|service unavailable|lorem ipsum|dolor sit amet|coming soon|return to the home page
        """
    ),
    "zh": entries(
        """
        版权所有|隐私政策|隐私声明|服务条款|使用条款|用户协议|本网站|本站|个人信息|您的数据|第三方|您的浏览器|启用脚本|页面不存在|找不到页面|
        您访问的页面|您要找的页面|页面已被移动|正在建设|敬请期待|请先登录|忘记密码|注册账号|您的账户|登录已过期|无权访问|联系我们|免责声明|不承担责任|
        保留权利|您的同意|取消订阅|请稍后再试|服务不可用|返回首页|备案号
        """
    ),
}

ENGLISH_FUNCTION_WORDS = frozenset(
    "the of and to in is a that it for as with on was are by be this from at which or an have has not its but were their".split()
)
